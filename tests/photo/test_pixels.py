"""Display values to 8-bit pictures and back, held to numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from diffcam.photo.pixels import from_picture, round_to_8_bit, to_picture


def values() -> torch.Tensor:
    return torch.rand(3, 5, 7, generator=torch.Generator().manual_seed(0)) * 1.2 - 0.1


def test_pictures_hold_the_nearest_levels() -> None:
    picture = to_picture(values())
    expected = np.rint(values().numpy().clip(0, 1) * 255).astype(np.uint8).transpose(1, 2, 0)
    assert (np.array(picture) == expected).all()
    assert picture.mode == "RGB"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_float_type_has_the_levels_of_its_values(dtype: torch.dtype) -> None:
    image = values().to(dtype)
    assert (np.array(to_picture(image)) == np.array(to_picture(image.float()))).all()


def test_what_is_rounded_is_what_the_picture_shows() -> None:
    image = values()
    assert torch.equal(from_picture(to_picture(image)), round_to_8_bit(image))
    assert torch.equal(image, values()), "the image itself stays as it is"


def test_any_mode_is_read_as_colours() -> None:
    assert torch.equal(from_picture(Image.new("L", (2, 3), 255)), torch.ones(3, 3, 2))
