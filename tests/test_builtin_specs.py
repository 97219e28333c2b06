"""The built-in descriptions in `hooks` must say what the modules they name really are."""
import subprocess
import sys
from dataclasses import fields

import pytest
import torch

from sora_kit.flow import Mixture
from sora_kit.hooks import BUILTIN, Registry
from sora_kit.samplers import Recorder, sample

by_id = pytest.mark.parametrize("spec", BUILTIN, ids=lambda spec: spec.id)


def test_listing_imports_no_torch():
    "Describing the components must not cost the import of torch."
    code = "import sys, sora_kit.hooks as h; list(h.Registry(h.BUILTIN)); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@by_id
def test_settings_are_the_fields(spec):
    "Names and defaults of `params` are those of the class, so that a control shows what will happen."
    made = spec.make()
    assert {p.name: p.default for p in spec.params} == {f.name: f.default for f in fields(made)}
    assert type(made) is spec.load() and made == type(made)()


@by_id
def test_limits_are_accepted(spec):
    "Every limit that a control offers can be chosen; only an empty interval (low = high) is refused."
    for param in spec.params:
        for limit in (param.low, param.high):
            empty = (param.name, limit) in (("low", 1), ("high", 0))
            if limit is not None and not empty:
                spec.make(**{param.name: limit})


@pytest.mark.parametrize("spec", Registry(BUILTIN).of_kind("sampler"), ids=lambda spec: spec.id)
def test_sampler_caps(spec):
    "Order, stages and randomness are as declared."
    sampler, ends = spec.make(), []
    assert (spec.caps["order"], spec.caps["stages"]) == (sampler.order, sampler.stages)
    for seed in (0, 1):
        model = Recorder(Mixture().denoise)
        steps = list(sample(sampler, torch.zeros(4, 1), model, 3, generator=torch.Generator().manual_seed(seed)))
        ends.append(steps[-1][1])
    assert spec.caps["deterministic"] == torch.equal(*ends)
    assert spec.caps["flow_map"] == all(to is not None for _, to in model.asked)
    fewest = spec.caps["min_steps"]
    assert len(list(sample(sampler, torch.zeros(4, 1), model, fewest, generator=torch.Generator()))) == fewest


@pytest.mark.parametrize("spec", Registry(BUILTIN).of_kind("guidance"), ids=lambda spec: spec.id)
def test_guidance_branches(spec):
    "The number of branches is as declared."
    assert len(spec.make().branches("a dog", "")) == spec.caps["branches"]
