"""The scripts in tools/ that measure: which rows there are, what is counted, and what the text says."""
import json
import sys
from argparse import ArgumentTypeError
from pathlib import Path

import pytest
import torch
from tiny_model import write_leaper, write_tiny

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tools"))

import bench_model
import measure_samplers
from bench_model import Speed, Taken
from measure_samplers import Bench, Line
from sora_kit.hooks import ComponentSpec
from sora_kit.pipeline import Session
from sora_kit.prompts import held_out_prompts


@pytest.fixture(scope="module")
def folder(tmp_path_factory): return write_tiny(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def session(folder): return Session(folder)


# measure_samplers: which rows there are

def test_a_budget_gives_as_many_steps_as_the_stages_allow():
    heun, rk4 = {"stages": (0., 1.)}, {"stages": (0., .5, .5, 1.)}
    assert [measure_samplers.steps_for(b, heun) for b in (1, 2, 5, 20)] == [0, 1, 2, 10]
    assert [measure_samplers.steps_for(b, rk4) for b in (3, 4, 20)] == [0, 1, 5]
    assert measure_samplers.steps_for(8, {}) == 8 and measure_samplers.steps_for(2, {"min_steps": 3}) == 0


def test_at_equal_work_all_branches_together_are_asked_as_often_as_two():
    assert [measure_samplers.each_branch(20, k, True) for k in (1, 2, 3)] == [40, 20, 13]
    assert [measure_samplers.each_branch(20, k, False) for k in (1, 2, 3)] == [20, 20, 20]


def test_names_may_have_settings_with_commas():
    assert measure_samplers.names("euler,ancestral:eta=.5, apg:scale=5,eta=.2,heun") == ["euler", "ancestral:eta=.5", "apg:scale=5,eta=.2", "heun"]
    assert measure_samplers.whole_numbers("4,8") == [4, 8]
    for wrong in ("", "4,", "0", "four"):
        with pytest.raises(ArgumentTypeError): measure_samplers.whole_numbers(wrong)


def test_the_samplers_are_those_of_the_session_that_work_with_the_model(folder):
    registry = Session(folder).registry
    registry.add(ComponentSpec("guest/mine", "nowhere:Mine", "", "sampler"))
    registry.add(ComponentSpec("guest/euler", "nowhere:Euler", "", "sampler"))
    plain, leaping = measure_samplers.usable(registry, False), measure_samplers.usable(registry, True)
    assert {"sora_kit/euler", "guest/euler", "mine", "heun"} <= set(plain) and "euler" not in plain
    assert set(leaping) - set(plain) == {s.name for s in registry.of_kind("sampler") if s.caps.get("flow_map")} != set()


def test_rates_count_the_actor_the_recognised_actor_and_all_four():
    dog = {"actor": "dog", "place": "beach", "time": "day", "motion": "runs"}
    said = [dog, dog, dog | {"actor": "cat"}, dog | {"place": "street"}]
    rows = {r.name: r for r in measure_samplers.judged([dog] * 4, said, [True, False, True, True])}
    assert {name: 4 * r.value for name, r in rows.items()} == {"actor": 3, "recognised": 2, "motion": 4, "all four": 2}
    assert rows["motion"].low == pytest.approx(.51, abs=.005) and rows["motion"].high == 1
    text = measure_samplers.shown(Line("heun", "3.5", 4, 2, True, 6., 1., tuple(rows.values()), .25))
    assert "75.0 (30–95)" in text and text.endswith("0.2500") and "~" not in text and measure_samplers.heading().index("distance") == text.index("0.2500")


# measure_samplers: films of a tiny model

def test_the_table_of_a_tiny_model(folder, tmp_path, capsys):
    kept = tmp_path / "rows.json"
    lines = measure_samplers.main(["--weights", str(folder), "--samplers", "euler,heun,ancestral", "--budgets", "1,4", "--n", "2", "--batch", "1",
                                   "--reference", "4", "--reference-sampler", "euler", "--json", str(kept)])
    reference, one, same, little, heun, *_, other = lines
    assert (reference.budget, reference.steps, reference.distance) == (None, 4, 0)
    assert (one.steps, one.work) == (1, 2) and (same.steps, same.work) == (4, 8) and one.distance > same.distance == 0     # the same noise
    assert little.steps == 0 and "too small" in little.problem
    assert (heun.steps, heun.work) == (2, 6) and heun.distance > 0                                       # the last stage asks nothing
    assert not other.deterministic and [r.n for r in other.rates] == [2] * 4
    told = json.loads(kept.read_text())
    assert told["finished"] and [row["work"] for row in told["rows"]] == [line.work for line in lines]
    assert [row.split()[0] for row in capsys.readouterr().out.splitlines()[2:]] == ["euler"] * 3 + ["heun"] * 2 + ["ancestral~"] * 2


@pytest.fixture(scope="module")
def leaper(tmp_path_factory):
    "A folder of weights with an adapter for leaps, of random numbers."
    return write_leaper(tmp_path_factory.mktemp("leaper"))


def test_weights_that_leap_bring_one_sampler_more_that_is_measured_once_and_counted_once(leaper):
    lines = measure_samplers.main(["--weights", str(leaper), "--budgets", "2", "--guidance", "3.5", "--guidance", "skip-layer", "--n", "1", "--equal-work"])
    rows = [(line.guidance, line.steps, line.work) for line in lines if line.sampler in ("flow-map", "euler")]
    assert rows == [("3.5", 2, 4), ("none", 4, 4), ("skip-layer", 1, 3)] and not any(line.problem for line in lines if line.sampler == "flow-map")


def test_what_a_sampler_does_wrong_is_said_in_its_row(folder):
    session = Session(folder)

    class Lazy:
        def schedule(self, steps, *, info): return torch.linspace(1, 0, steps + 1, dtype=torch.float64)
        def init_state(self, levels): return {}
        def step(self, x, i, levels, denoise, state, *, generator): raise RuntimeError("too lazy")

    session.registry.add(ComponentSpec("guest/lazy", Lazy, "", "sampler"))
    line, latents = Bench(session, held_out_prompts(1)).filled(Line("lazy", "none", 1, 1), None)
    assert latents is None and "guest/lazy" in line.problem and "too lazy" in measure_samplers.shown(line)
    assert "predict" not in vars(session.backbone)


def test_ctrl_c_keeps_the_rows_that_are_done(folder, tmp_path, monkeypatch):
    filled, kept, begun = Bench.filled, tmp_path / "rows.json", []

    def stopped(self, line, reference):
        begun.append(line)
        if len(begun) == 2: raise KeyboardInterrupt
        return filled(self, line, reference)

    monkeypatch.setattr(Bench, "filled", stopped)
    lines = measure_samplers.main(["--weights", str(folder), "--samplers", "euler", "--budgets", "1,2,3", "--guidance", "none", "--n", "1",
                                   "--json", str(kept)])
    told = json.loads(kept.read_text())
    assert [line.work for line in lines] == [1] and len(told["rows"]) == 1 and not told["finished"]


# bench_model

def test_operations_are_two_for_a_multiplication_and_an_addition(session):
    a = torch.ones(8, 8)
    assert bench_model.operations(lambda: a @ a) == {"mm": 2 * 8**3}
    two, four = (sum(bench_model.operations(bench_model.asked(session.backbone, batch)).values()) for batch in (2, 4))
    assert two > 0 and abs(four / two - 2) < .02
    assert bench_model.peak(torch.float32, 1, 1, (256,))[256].operations == 2 * 256**3 * (10**9 // 256**3)
    assert bench_model.model_speed(session.backbone, 2, "bfloat16", 1, 1).operations == two


def test_the_parts_of_a_film_make_up_the_whole(session):
    parts, seconds = bench_model.film(session, 0, steps=2)
    assert set(parts) == {"all", "sampling", "pictures", "sound", "rest"} and seconds == 17 / 8
    for clock in ("wall", "processor"):
        each = {name: getattr(taken, clock) for name, taken in parts.items()}
        assert each["all"] == pytest.approx(sum(each.values()) - each["all"]) and min(each[k] for k in ("sampling", "pictures", "sound")) > 0
    assert not {"pictures", "sound"} & set(vars(session.backbone))


@pytest.mark.parametrize("products, films, clock", [(1., 1., "on the wall"), (.1, 1., "the processor's clock"), (1., .5, "the processor's clock")])
def test_the_summary_says_shares_seconds_and_which_clock(products, films, clock):
    def speed(gf): return Speed(gf * 1e9, Taken(1., products), 1)
    def made(seconds): return {"first": Taken(9, 9), "seconds": 2., "parts": {"all": Taken(seconds, seconds * films)}}
    peaks = {"float32": {256: speed(50), 512: speed(100)}, "bfloat16": {256: speed(40)}}
    text = bench_model.summary("tiny", 1, {("float32", 2): speed(50)}, peaks, {"20 steps": made(8.), "4 steps": made(3.)})
    assert "50 % in float32 at batch 2" in text and clock in text and "bfloat16 was not timed" in text
    assert f"{4 * films:.2f} s at 20 steps" in text and ("missed" if films == 1 else "kept") in text


def test_few_steps_are_left_to_a_flow_map_if_the_weights_can_leap(session):
    assert [bench_model.quick_sampler(session.registry, leaps) for leaps in (False, True)] == ["dpmpp-2m", "flow-map"]
