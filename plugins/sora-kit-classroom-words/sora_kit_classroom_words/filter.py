"Whole words and names are looked for in every reading of a prompt, also with digits for letters."
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from sora_kit.hooks import Verdict
from sora_kit.safety import readings

LIST = Path(__file__).parent / "words.txt"
ENDINGS = ("", "s", "n", "es", "en")
LARGEST = 200_000     # characters of a list


def entries(text: str) -> list[str]:
    "The words of a list, without remarks and empty lines."
    return [word for line in text.splitlines() if (word := line.partition("#")[0].strip())]


def plain(text: str) -> str:
    "A word or name as the plainest reading of it: 'Spider-Man' is 'spider man'."
    return " ".join(readings(text)[0])


@dataclass(frozen=True)
class ClassroomWords:
    "Stops prompts that name somebody or something on the list."
    words: str = ""          # more of them, with semicolons between
    file: str = ""           # instead of the list that comes with the filter
    action: str = "block"    # or "review"

    @cached_property
    def listed(self) -> dict[str, str]:
        "Each word as it is looked for, and as it is written."
        path = Path(self.file or LIST)
        try: text = path.read_text(encoding="utf-8")[:LARGEST]
        except (OSError, UnicodeDecodeError) as problem: raise ValueError(f"file: {path.name} cannot be read ({type(problem).__name__})") from problem
        return {plain(word): word for word in [*entries(text), *entries(self.words.replace(";", "\n"))] if plain(word)}

    def check(self, item: str) -> Verdict:
        "The verdict on a prompt; the reason names the word."
        said = {f" {' '.join(words)} " for words in readings(str(item)[:4000])}
        for look, word in self.listed.items():
            forms = [f" {look}{end} " for end in ENDINGS] + [f" {look.replace(' ', '')}{end} " for end in ENDINGS]
            if any(form in text for form in forms for text in said):
                return Verdict(self.action, f"'{word}' is on this class's list; think of somebody or something of your own")
        return Verdict("allow")
