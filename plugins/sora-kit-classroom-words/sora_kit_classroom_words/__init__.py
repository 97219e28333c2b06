"A filter with a list of one's own: names and brands that a class has agreed to leave out."
from sora_kit.hooks import ComponentSpec, Param

sora_api = "1.0"


def sora_safety_filters():
    params = (Param("words", str, "", help="more words or names to stop, with semicolons between them: mickey mouse; tiktok"),
              Param("file", str, "", help="a text file with one word or name a line, instead of the list that comes with the filter"),
              Param("action", str, "block", choices=("block", "review"), help="block: no film is made; review: it is made, and the report says so"))
    return [ComponentSpec("sora-kit-classroom-words/classroom-words", "sora_kit_classroom_words.filter:ClassroomWords",
                          "names and brands on the class's own list", "safety_filter",
                          {"stage": "prompt", "stops": ("Mickey Mouse on the beach", "a dog drinks C0ca-Cola", "ein Film wie auf TikTok")}, params)]
