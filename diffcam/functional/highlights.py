"""Light of lamps and glints that a photo clips: guessed, so that blur makes bright discs of them and not grey ones.

B images, H rows, W columns.
"""

from __future__ import annotations

from functools import reduce

import torch
from torch import Tensor
from torch.nn import functional as F

WHITE = 254.5 / 255
"""Display value from which a channel counts as clipped: what 8 bits write as 255."""

SPOT = 0.015
"""Side of the square that does not fit into a spot, in short sides; chosen."""

SURROUNDINGS = 4
"""Half-width of a spot's surroundings, in sides of that square; chosen."""

DARK = 0.3
"""Mean display value of the surroundings from which a spot stays white: in daylight it is a white thing; measured:
docs/log.md, "Highlights"."""

LIGHT = 10.0
"""Light of a spot in the dark, relative to white: the lower end of what lamps have in night photos; chosen."""


def raise_highlights(image_B3HW: Tensor, gamma: float) -> Tensor:
    """The image with the clipped channels of small, isolated spots above 1: up to ``LIGHT ** (1 / gamma)``.

    A spot is what an opening by a square of ``SPOT`` short sides takes from the clipped pixels, and so do openings by
    lines of twice its length, apart from what lies beside a broader white area. The light falls linearly from
    ``LIGHT`` in black surroundings to 1 in those of ``DARK``. All else stays, to the last bit.

    Args:
        image_B3HW: Display values in [0, 1].
        gamma: Light is ``image ** gamma``.

    Examples:
        >>> night = torch.zeros(1, 3, 200, 200).index_fill_(3, torch.tensor([99, 100]), 1.0)
        >>> night[:, :, :99] = night[:, :, 101:] = 0
        >>> round(float(raise_highlights(night, 1.0).max()), 2)
        9.93
    """
    side = max(1, round(SPOT * min(image_B3HW.shape[-2:]) / 2)) * 2 + 1
    clipped_B3HW = image_B3HW >= WHITE
    if image_B3HW.is_meta or not clipped_B3HW.any():
        return image_B3HW
    mask_B1HW = clipped_B3HW.any(1, keepdim=True).to(image_B3HW)
    shapes = (side, side), (1, 2 * side + 1), (2 * side + 1, 1)
    broad_B1HW = reduce(torch.maximum, (_dilate(-_dilate(-mask_B1HW, shape), shape) for shape in shapes))
    spot_B1HW = (mask_B1HW > 0) & (_dilate(broad_B1HW, (2 * side + 1, 2 * side + 1)) == 0)
    reach = SURROUNDINGS * side
    surroundings_B1HW = image_B3HW.mean(1, keepdim=True)
    for window, margin in (((2 * reach + 1, 1), (reach, 0)), ((1, 2 * reach + 1), (0, reach))):
        surroundings_B1HW = F.avg_pool2d(surroundings_B1HW, window, 1, margin, count_include_pad=False)
    light_B1HW = 1 + (LIGHT - 1) * (1 - surroundings_B1HW / DARK).clamp_min(0)
    return torch.where(clipped_B3HW & spot_B1HW, image_B3HW * light_B1HW ** (1 / gamma), image_B3HW)


def _dilate(mask_B1HW: Tensor, shape: tuple[int, int]) -> Tensor:
    """Largest value in a rectangle of odd sides; outside the picture there is none."""
    return F.max_pool2d(mask_B1HW, shape, 1, (shape[0] // 2, shape[1] // 2))
