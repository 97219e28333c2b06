"The look of a risograph: two inks, dots, and plates that never quite meet."
from sora_kit.hooks import ComponentSpec, Param

sora_api = "1.0"


def sora_style_adapters():
    inks = ("blue+coral", "teal+orange", "violet+yellow", "black+red")
    params = (Param("inks", str, inks[0], choices=inks, help="the dark ink and the bright one"),
              Param("dots", int, 48, 12, 160, help="rows of dots over the height of the picture"),
              Param("slip", float, .008, 0, .05, help="how far the second plate has slipped, in shares of the height"))
    return [ComponentSpec("sora-kit-risograph/risograph", "sora_kit_risograph.style:Risograph", "printed with two inks on rough paper",
                          "style_adapter", {"stage": "frames"}, params)]
