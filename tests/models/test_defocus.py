"""DefocusNet: where nothing is known, where evidence decides, and what a piece knows of the whole."""

from __future__ import annotations

import torch
from torch import Tensor

from diffcam.functional.lens_fit import RADII, lens_radii, lens_scores, radius_at
from diffcam.models import DefocusNet


def photo() -> Tensor:
    return torch.rand(1, 3, 96, 128, generator=torch.Generator().manual_seed(0))


def test_an_untrained_network_knows_nothing() -> None:
    found = DefocusNet()(photo(), torch.rand(1, 1, 96, 128))
    assert found.lenses is not None
    assert found.logits.shape == (1, len(RADII), 24, 32)
    torch.testing.assert_close(found.lenses, torch.full_like(found.lenses, -torch.tensor(len(lens_radii())).log()))
    size = DefocusNet().radius(photo(), None)
    torch.testing.assert_close(size, torch.full((1, 1, 96, 128), sum(RADII) / len(RADII)))


def test_the_radius_without_a_map_is_the_mean_of_what_is_likely() -> None:
    network = DefocusNet((8, 8, 8), (1, 1, 1))
    with torch.no_grad():
        network.posterior.bias[4] = network.posterior.bias[6] = 30.0
    assert abs(float(network.radius(photo(), None).mean()) - (RADII[4] + RADII[6]) / 2) < 1e-3


def test_evidence_of_the_true_radii_gives_the_lens() -> None:
    """A lens of 12 pixels a unit, in focus at 0.3, from the radii of 33 x 5 places alone."""
    disparity = torch.linspace(0, 1, 33).expand(1, 1, 5, 33)
    radius = 12 * (disparity - 0.3)
    evidence = -((radius.abs() - torch.tensor(RADII).view(-1, 1, 1)) ** 2)
    posterior = (lens_scores(evidence, disparity) * 50).softmax(1)
    found = radius_at(posterior @ lens_radii(), disparity)
    assert (found - radius).abs().max() < 0.8
    mirrored = radius_at((lens_scores(evidence, 1 - disparity) * 50).softmax(1) @ lens_radii(), 1 - disparity)
    torch.testing.assert_close(mirrored, -found, atol=1e-3, rtol=0)


def test_a_piece_gives_what_the_whole_gives_there() -> None:
    torch.manual_seed(0)
    network = DefocusNet((8, 8, 8), (1, 1, 1)).eval()
    torch.nn.init.normal_(network.posterior.weight, std=0.1)
    with torch.no_grad():
        whole, piece = network(photo(), None).logits, network(photo()[..., :96], None).logits
    torch.testing.assert_close(whole[..., :12], piece[..., :12])
