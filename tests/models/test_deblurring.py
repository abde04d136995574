"""DeblurNet: what it must leave alone, and that it looks at nothing but a neighbourhood."""

from __future__ import annotations

import skimage
import torch
from torch import Tensor

from diffcam.models.deblurring import DeblurNet, light_reach


def cat() -> Tensor:
    return torch.from_numpy(skimage.data.chelsea()[50:151, 100:213].copy()).permute(2, 0, 1)[None].float() / 255


def busy_network() -> DeblurNet:
    """One that changes what it is free to change."""
    torch.manual_seed(0)
    network = DeblurNet(channels=(8, 8), blocks=(1, 1)).eval()
    torch.nn.init.normal_(network.leave.weight, std=0.05)
    return network


def test_an_untrained_network_leaves_the_photo() -> None:
    with torch.no_grad():
        assert torch.equal(DeblurNet().eval()(cat(), torch.full((1, 1, 101, 113), 5.0)), cat())


def test_what_is_told_to_be_sharp_stays_bit_for_bit() -> None:
    radius = torch.zeros(1, 1, 101, 113)
    radius[..., 80:] = 4.0
    with torch.no_grad():
        result = busy_network()(cat(), radius)
    assert torch.equal(result[..., :76], cat()[..., :76])
    assert (result - cat())[..., 80:].abs().mean() > 0.001


def test_light_of_a_blurred_place_reaches_as_far_as_its_disc() -> None:
    radius = torch.zeros(1, 1, 1, 40)
    radius[..., 20] = -4.5
    reached = light_reach(radius)[0, 0, 0]
    assert reached.nonzero()[:, 0].tolist() == list(range(16, 25))
    assert reached.max() == 4.5


def test_a_piece_gives_what_the_whole_gives_there() -> None:
    radius = torch.full((1, 1, 101, 113), 1.5)
    network = busy_network()
    with torch.no_grad():
        whole, piece = network(cat(), radius), network(cat()[..., :80], radius[..., :80])
    # What is left is the reach of the Wiener filter.
    assert (whole[..., :40] - piece[..., :40]).abs().max() < 0.02


def test_radii_beyond_the_largest_count_as_the_largest() -> None:
    network = busy_network()
    with torch.no_grad():
        results = [network(cat(), torch.full((1, 1, 101, 113), radius)) for radius in (20.0, 35.0)]
    assert torch.equal(*results)
