"""What a session adds to a lens's render: depth edges, rims and grain, with a model that corrects nothing."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
import torch
from torch import Tensor

from diffcam.camera import Camera
from diffcam.models import LensRefocusModel, embedded_model
from diffcam.session import PhotoSession

NOISE = 4 / 255


@pytest.fixture(scope="module")
def model() -> LensRefocusModel:
    """Its output is zero: a lens's render of the photo."""
    model = embedded_model(patch=8, width=32, layers=1, single_layers=1, short_side=256)
    torch.nn.init.zeros_(model.transformer.base.proj_out.weight)
    torch.nn.init.zeros_(model.transformer.base.proj_out.bias)
    return model


def opened(model: LensRefocusModel, photo: Tensor | np.ndarray, disparity: np.ndarray) -> PhotoSession:
    return PhotoSession(model, photo, depth=disparity.astype(np.float32), steps=1, name="quiet")


def taken(session: PhotoSession, camera: Camera, seed: int = 0) -> Tensor:
    return session.images(session.latents([camera], 1, seed), [camera], seed)[0]


@pytest.mark.parametrize("level", [8, 24])
def test_a_dark_disc_in_focus_before_a_bright_wall_keeps_its_rim(model: LensRefocusModel, level: int) -> None:
    rows, columns = np.mgrid[:256, :256]
    distance = np.hypot(rows - 128, columns - 128)
    photo = np.where(distance[..., None] < 50, 30, 220).astype(np.uint8).repeat(3, 2)
    session = opened(model, photo, np.where(distance < 50, 0.9, 0.1))
    result = (taken(session, Camera((0.5, 0.5), level)) * 255).permute(1, 2, 0).numpy()
    rim = (distance < 50) & (distance > 44)
    assert np.abs(result - photo)[rim].max() <= 3


def grained_wall() -> tuple[np.ndarray, np.ndarray]:
    """A wall with noise whose left half is near, below a strip of coffee."""
    wall = np.full((256, 256, 3), 0.5)
    wall[:60] = skimage.data.coffee()[100:160, 100:356] / 255
    noisy = wall + NOISE * np.random.default_rng(0).standard_normal(wall.shape)
    return np.rint(noisy.clip(0, 1) * 255).astype(np.uint8), np.where(np.arange(256) < 128, 0.9, 0.1)[None].repeat(
        256, 0
    )


def test_blurred_parts_have_the_grain_of_sharp_ones(model: LensRefocusModel) -> None:
    photo, disparity = grained_wall()
    session = opened(model, photo, disparity)
    result = taken(session, Camera((0.25, 0.5), 12.0))
    sharp, blurred = (result[:, 80:, columns].std((1, 2)).mean() for columns in (slice(10, 100), slice(160, 250)))
    assert float(sharp) == pytest.approx(NOISE, rel=0.05)
    assert float(blurred) == pytest.approx(float(sharp), rel=0.2)
    own = torch.from_numpy(photo[:, 10:100]).permute(2, 0, 1).float() / 255
    torch.testing.assert_close(result[:, :, 10:100], own, atol=0.4 / 255, rtol=0)
    assert torch.equal(taken(session, Camera((0.25, 0.5), 12.0)), result)
    assert not torch.equal(taken(session, Camera((0.25, 0.5), 12.0), seed=1), result)


def test_a_clean_photo_gets_no_grain(model: LensRefocusModel) -> None:
    _, disparity = grained_wall()
    photo = np.full((256, 256, 3), 128, np.uint8)
    photo[:60] = skimage.data.coffee()[100:160, 100:356]
    results = [taken(opened(model, photo, disparity), Camera((0.25, 0.5), 12.0), seed) for seed in (0, 1)]
    torch.testing.assert_close(*results, atol=1e-4, rtol=0)  # the sampler starts from other noise
    assert results[0][:, 100:, 160:250].std() < 1e-3
