"The sampler keeps the contract, and its third order is its own doing."
import torch
from sora_kit.flow import Mixture
from sora_kit.samplers import AB2, walk
from sora_kit.testing import parametrize_with_contract
from sora_kit_abm3 import sora_samplers
from sora_kit_abm3.sampler import ABM3, bent


@parametrize_with_contract(sora_samplers())
def test_contract(check): check.run()


def test_a_parabola_is_integrated_exactly():
    f = lambda t: 2. - 3 * t + 5 * t * t
    points = [(0., f(0.)), (-.3, f(-.3)), (-.7, f(-.7))]
    assert abs(bent(.4, points) - (2 * .4 - 1.5 * .4**2 + 5 / 3 * .4**3)) < 1e-9
    assert abs(bent(.4, points[:1]) - .8) < 1e-9


def test_it_comes_nearer_than_second_order_with_as_many_questions():
    world, x, levels = Mixture(), torch.linspace(-2, 2, 64, dtype=torch.float64)[:, None], torch.linspace(.95, .05, 41, dtype=torch.float64)
    def off(sampler):
        *_, (_, end, _, _) = walk(sampler, x, world.denoise, levels, generator=None)
        return (end - world.transport(x, .95, .05)).abs().mean().item()
    assert off(ABM3()) < .5 * off(AB2())


def test_the_state_is_threaded_through_and_the_sampler_keeps_nothing():
    assert vars(ABM3()) == {} and ABM3().init_state(torch.tensor([1., 0.])) == {}
