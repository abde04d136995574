"""The packaged model on a 24-megapixel photo: what it solved is what comes out, and what stays sharp is the photo's."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import torch
from PIL import Image
from torch import Tensor

import diffcam.session
from diffcam import Camera, RefocusPipeline
from diffcam.functional.frame import resize
from diffcam.functional.upsampling import upsample_result
from diffcam.photo import Photo

HEIGHT, WIDTH = 4000, 6000


def psnr(first: Tensor, second: Tensor) -> float:
    return float(-10 * torch.log10(((first - second) ** 2).mean().clamp_min(1e-12)))


def scene() -> tuple[Photo, np.ndarray]:
    """A sharp disc of one photo before another, with grain as fine as the pixels, and its disparity."""
    size = (WIDTH, HEIGHT)
    background = np.asarray(Image.fromarray(skimage.data.coffee()).resize(size, Image.Resampling.LANCZOS))
    subject = np.asarray(Image.fromarray(skimage.data.astronaut()[:341]).resize(size, Image.Resampling.LANCZOS))
    rows, columns = np.ogrid[:HEIGHT, :WIDTH]
    near = np.hypot(rows - HEIGHT / 2, columns - WIDTH / 2) < 1200
    grain = np.random.default_rng(0).integers(-8, 9, (HEIGHT, WIDTH, 1), dtype=np.int16)
    pixels = np.clip(np.where(near[..., None], subject, background) + grain, 0, 255).astype(np.uint8)
    return Photo.from_image(Image.fromarray(pixels)), near.astype(np.float32)


@pytest.mark.slow
def test_24_megapixels_keep_what_was_solved_and_what_stays_sharp(monkeypatch: pytest.MonkeyPatch) -> None:
    solved: list[Tensor] = []

    def record(photo: Tensor, result: Tensor, stays: Tensor | None) -> Tensor:
        solved.append(result)
        return upsample_result(photo, result, stays)

    monkeypatch.setattr(diffcam.session, "upsample_result", record)
    photo, near = scene()
    picture = RefocusPipeline.from_pretrained("diffcam-tiny")(photo, Camera((0.5, 0.5), 12.0), depth=near).images[0]
    assert picture.size == (WIDTH, HEIGHT)
    output = Photo.from_image(picture).tensor()[None]
    result = solved[0]
    assert psnr(resize(output, (result.shape[-2], result.shape[-1])), result) >= 40
    middle = np.s_[..., 1400:2600, 2400:3600]  # inside the disc
    assert psnr(output[middle], photo.tensor()[None][middle]) >= 40
    assert psnr(output[..., :600, :], photo.tensor()[None][..., :600, :]) < 35  # and the background did change
