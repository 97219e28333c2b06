"The filter keeps the contract, finds what hides, and leaves the rest alone."
import pytest
from sora_kit.testing import parametrize_with_contract
from sora_kit_classroom_words import sora_safety_filters
from sora_kit_classroom_words.filter import LIST, ClassroomWords, entries


@parametrize_with_contract(sora_safety_filters())
def test_contract(check): check.run()


@pytest.mark.parametrize("prompt", ["a dog like Mickey Mouse", "MICKEYMOUSE dances", "two Pokémons fight", "a can of C0ca-Cola", "ein Film wie auf TikTok", "b a t m a n on a roof",
                                    "a spider-man suit", "spiderman", "McDonalds at night"])
def test_what_is_on_the_list_is_stopped_and_named(prompt):
    verdict = ClassroomWords().check(prompt)
    assert verdict.action == "block" and "list" in verdict.reason and "'" in verdict.reason


@pytest.mark.parametrize("prompt", ["a mouse on the beach", "a bat and a man", "a spider on a wall", "an elsewhere", "a nice knee", "die Maus läuft", "a pepper", "cola trees"])
def test_what_is_not_on_it_passes(prompt): assert ClassroomWords().check(prompt).allowed, prompt


def test_the_class_has_its_own_words_and_its_own_action():
    assert ClassroomWords().check("Lena runs on the beach").allowed
    verdict = ClassroomWords(words="Lena; our school", action="review").check("Lenas dog at our school")
    assert verdict.action == "review" and "Lena" in verdict.reason


def test_a_list_in_a_file_takes_the_place_of_ours(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("# ours\nBlue Whale  # the game\n\n", encoding="utf-8")
    assert not ClassroomWords(file=str(path)).check("a blue whale").allowed and ClassroomWords(file=str(path)).check("tiktok").allowed
    with pytest.raises(ValueError, match="file: nowhere.txt cannot be read"): ClassroomWords(file=str(tmp_path / "nowhere.txt")).check("a dog")


def test_the_list_that_comes_with_it_is_clean():
    words = entries(LIST.read_text(encoding="utf-8"))
    assert len(words) > 10 and len(set(map(str.lower, words))) == len(words)
