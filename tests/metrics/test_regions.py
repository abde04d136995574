"""Metrics on regions against numpy and scikit-image with boolean masks."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.ndimage import minimum_filter
from skimage import data
from skimage.filters import gaussian
from skimage.metrics import structural_similarity

from diffcam.camera import Camera
from diffcam.data import RefocusSample, collate
from diffcam.metrics import (
    Identity,
    InFocusPSNR,
    InFocusSSIM,
    KeptPSNR,
    OutOfFocusPSNR,
    OutOfFocusSSIM,
    Scores,
)
from diffcam.metrics.scores import Comparison


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    """A photo blurred on the right as ground truth; an output that is too dark there and noisy on the left."""
    sharp = data.coffee()[100:164, 100:196] / 255
    target = sharp.copy()
    target[:, 48:] = gaussian(sharp, 2, channel_axis=-1)[:, 48:]
    output = target.copy()
    output[:, 48:] *= 0.8
    output[:, :48] += np.random.default_rng(0).normal(0, 0.05, output[:, :48].shape)
    target, output, sharp = (
        torch.from_numpy(x).permute(2, 0, 1)[None].float() for x in (target, output.clip(0, 1), sharp)
    )
    disparity = torch.zeros(1, 1, 64, 96)
    disparity[..., 48:] = 0.5
    sample = RefocusSample(
        reference=sharp[0],
        targets=target,
        disparity=disparity[0],
        cameras=(Camera((0.2, 0.5), 20.0),),  # 1.25 pixels on the right
        index=0,
        scene="a",
        subtask="add_bokeh",
        source="camera",
        all_in_focus=sharp[0],
        exact_disparity=disparity[0],
    )
    return Comparison(collate([sample]), output)


def pixels(image: torch.Tensor) -> np.ndarray:
    return ((image[0] * 255).round() / 255).permute(1, 2, 0).numpy()


def scores(comparison: Comparison) -> dict[str, float]:
    metrics = [InFocusPSNR(), OutOfFocusPSNR(), InFocusSSIM(), OutOfFocusSSIM(), Identity()]
    found = Scores(metrics)
    found.update("method", comparison.batch, comparison.outputs_B3HW)
    return dict(found.compute()[0].scores)


def test_against_numpy_and_skimage(comparison: Comparison) -> None:
    output, target = pixels(comparison.prediction), pixels(comparison.target)
    found = scores(comparison)
    _, similarity = structural_similarity(
        output,
        target,
        data_range=1,
        channel_axis=-1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    for name, columns in (("in_focus", slice(0, 48)), ("out_of_focus", slice(48, 96))):
        squares = ((output - target)[:, columns] ** 2).mean()
        assert found[f"psnr_{name}"] == pytest.approx(-10 * np.log10(squares), abs=1e-3)
        inner = similarity[5:-5, max(columns.start, 5) : min(columns.stop, 91)]
        assert found[f"ssim_{name}"] == pytest.approx(inner.mean(), abs=1e-4)


def test_identity_looks_where_nothing_should_change(comparison: Comparison) -> None:
    """Reference and ground truth agree on the left, four pixels from the blurred half."""
    output, target = pixels(comparison.prediction), pixels(comparison.target)
    expected = np.abs(output - target)[:, :44].mean()
    assert scores(comparison)["identity"] == pytest.approx(expected, rel=0.03)
    copy = Comparison(comparison.batch, comparison.reference)
    assert scores(copy)["identity"] < 2 / 255


def test_regions_that_are_not_there(comparison: Comparison) -> None:
    given = comparison.batch
    everywhere = replace(given.cameras, bokeh=torch.zeros(1, 1))
    inverted = replace(given, cameras=everywhere, reference=1 - comparison.target)
    found = scores(Comparison(inverted, comparison.prediction))
    assert math.isnan(found["psnr_out_of_focus"])
    assert math.isnan(found["ssim_out_of_focus"])
    assert math.isnan(found["identity"])
    assert found["psnr_in_focus"] > 10


def test_disparity_is_needed(comparison: Comparison) -> None:
    without = Comparison(replace(comparison.batch, exact_disparity=None), comparison.prediction)
    with pytest.raises(ValueError, match="need the exact disparity"):
        scores(without)


def test_what_is_kept_is_held_to_the_reference(comparison: Comparison) -> None:
    kept = float(KeptPSNR().score(comparison.prediction, comparison.target, comparison.reference))
    sharp, target, output = (pixels(x) for x in (comparison.reference, comparison.target, comparison.prediction))
    same = minimum_filter(np.abs(target - sharp).max(-1) < 2 / 255, 9, mode="constant", cval=1)
    assert same.mean() > 0.3
    assert kept == pytest.approx(-10 * np.log10(np.square(output - sharp)[same].mean()), abs=0.05)
