"Adams–Bashforth–Moulton: a sampler of third order that asks the model once a step."
from sora_kit.hooks import ComponentSpec

sora_api = "1.0"


def sora_samplers():
    caps = dict(order=3, stages=(0.,), deterministic=True, min_steps=1, flow_map=False)
    summary = "predicts, and mends the step before once it knows better (Adams–Moulton)"
    return [ComponentSpec("sora-kit-abm3/abm3", "sora_kit_abm3.sampler:ABM3", summary, "sampler", caps)]
