"""Depth Anything runs from a checkpoint in the hub's own format; maps are normalised per image."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from diffcam.errors import DiffcamError
from diffcam.pretrained.depth import DepthAnything, input_size
from tests.depth import write_depth_folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small Depth Anything with random weights, saved as the hub's are."""
    return write_depth_folder(tmp_path_factory.mktemp("depth"))


def photos(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1))


def test_equals_transformers_own_processing(checkpoint: Path) -> None:
    from transformers import AutoModelForDepthEstimation, DPTImageProcessor

    image = (photos(1, 3, 56, 84) * 255).round() / 255
    processor = DPTImageProcessor(
        size={"height": 56, "width": 56}, keep_aspect_ratio=True, ensure_multiple_of=14,
        image_mean=[0.485, 0.456, 0.406], image_std=[0.229, 0.224, 0.225],
    )  # fmt: skip
    inputs = processor((image[0] * 255).byte(), return_tensors="pt")
    assert inputs["pixel_values"].shape == (1, 3, 56, 84)
    with torch.no_grad():
        raw = AutoModelForDepthEstimation.from_pretrained(checkpoint)(**inputs).predicted_depth
    expected = (raw - raw.min()) / (raw.max() - raw.min())
    torch.testing.assert_close(DepthAnything(str(checkpoint), short_side=56)(image)[:, 0], expected, atol=2e-4, rtol=0)


def test_batches_do_not_mix_and_each_map_is_normalised(checkpoint: Path) -> None:
    estimate = DepthAnything(str(checkpoint), short_side=56, batch_size=2)
    images = photos(3, 3, 60, 45)
    together = estimate(images)
    assert together.shape == (3, 1, 60, 45)
    assert together.amin((1, 2, 3)).tolist() == [0, 0, 0]
    assert together.amax((1, 2, 3)).tolist() == [1, 1, 1]
    torch.testing.assert_close(together[1:2], estimate(images[1:2]), atol=1e-4, rtol=0)


def test_pickles_without_weights(checkpoint: Path) -> None:
    estimate = DepthAnything(str(checkpoint), short_side=28)
    before = estimate(photos(1, 3, 28, 28))
    packed = pickle.dumps(estimate)
    assert len(packed) < 2000
    torch.testing.assert_close(pickle.loads(packed)(photos(1, 3, 28, 28)), before)  # noqa: S301 - made here


def test_missing_model_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DiffcamError, match=r"depth model .*cannot be loaded.*check the folder") as caught:
        DepthAnything(str(tmp_path))(photos(1, 3, 28, 28))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("size", "expected"), [((512, 512), (518, 518)), ((400, 580), (518, 756)), ((1000, 10), (2072, 14))]
)
def test_input_size_keeps_the_aspect_in_whole_patches(size, expected) -> None:
    assert input_size(*size, 518, 14) == expected
