"""Between display values in [0, 1] and pictures of 8 bits a channel: a value v is the level ``round(255 v)``."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

LEVELS = 255
"""The brightest level of 8 bits."""


def to_picture(image_3HW: Tensor) -> Image.Image:
    """Display values, of any device and float type, as an RGB picture; what lies outside of [0, 1] is clipped."""
    levels = image_3HW.detach().float().clamp(0, 1).mul(LEVELS).round().to("cpu", torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).numpy())


def from_picture(picture: Image.Image) -> Tensor:
    """A picture of any mode as display values ``(3, H, W)``, float32."""
    return torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1).float().div_(LEVELS)


def round_to_8_bit(image: Tensor) -> Tensor:
    """Display values as a file or a screen would show them: the nearest multiples of 1/255 in [0, 1]; any shape."""
    return image.clamp(0, 1).mul_(LEVELS).round_().div_(LEVELS)
