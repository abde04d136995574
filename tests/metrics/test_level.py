"""LVCorr against scipy: Laplacian by convolution, Pearson correlation, mean over scenes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import ndimage, stats
from skimage import data
from skimage.filters import gaussian

from diffcam.metrics import LVCorr, Row, estimate, level_correlation

LEVELS = np.array([2.0, 6.0, 11.0, 20.0])


def blur_series(photo: np.ndarray, sigmas: list[float]) -> np.ndarray:
    return np.stack([gaussian(photo, sigma, channel_axis=-1) for sigma in sigmas])


@pytest.fixture(scope="module")
def scenes() -> dict[str, np.ndarray]:
    """Two scenes of four outputs ``(4, 64, 96, 3)``: one follows the levels, one does so only in part."""
    astronaut, coffee = (image[100:164, 100:196] / 255 for image in (data.astronaut(), data.coffee()))
    return {
        "follows": blur_series(astronaut, [0.3, 0.6, 1.0, 1.6]),
        "wavers": blur_series(coffee, [0.5, 1.8, 0.4, 0.9]),
    }


def reference_sharpness(image: np.ndarray) -> float:
    gray = image @ [0.299, 0.587, 0.114]
    return float(ndimage.convolve(gray, [[0, 1, 0], [1, -4, 1], [0, 1, 0]], mode="mirror").var())


def as_tensor(images: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(images).permute(0, 3, 1, 2).float()


def correlation(outputs: dict[str, np.ndarray], levels: np.ndarray) -> float:
    """What a table says of scenes' outputs, one for each of the first levels; rows of scenes come interleaved."""
    rows = [
        Row("model", 0, scene, "add_bokeh", "camera", levels[n], (0.5, 0.5), {"sharpness": float(sharpness)})
        for scene, images in outputs.items()
        for n, sharpness in enumerate(LVCorr().score(as_tensor(images)))
    ]
    return estimate(sorted(rows, key=lambda row: row.bokeh), LVCorr()).value


def test_against_scipy(scenes: dict[str, np.ndarray]) -> None:
    correlations = [
        stats.pearsonr(LEVELS, [-reference_sharpness(image) for image in images]).statistic
        for images in scenes.values()
    ]
    assert correlations[0] > 0.8 > correlations[1], "the two scenes must differ for the mean to be a test"
    assert correlation(scenes, LEVELS) == pytest.approx(np.mean(correlations), abs=1e-4)


def test_sharpness_per_sample(scenes: dict[str, np.ndarray]) -> None:
    images = scenes["follows"]
    expected = [reference_sharpness(image) for image in images]
    assert LVCorr().score(as_tensor(images)).tolist() == pytest.approx(expected, rel=1e-4)


def test_outputs_that_ignore_the_level_score_zero(scenes: dict[str, np.ndarray]) -> None:
    copies = np.repeat(scenes["follows"][:1], 4, axis=0)
    assert correlation({"copy": copies}, LEVELS) == 0


def test_more_blur_for_higher_levels_is_positive() -> None:
    assert level_correlation(LEVELS, 50 - 2 * LEVELS) == pytest.approx(1)
    assert level_correlation(LEVELS, 50 + 2 * LEVELS) == pytest.approx(-1)


@pytest.mark.parametrize("levels", [[5.0], [5.0, 5.0, 5.0]])
def test_undefined_without_two_levels(levels: list[float]) -> None:
    assert math.isnan(level_correlation(np.array(levels), np.arange(len(levels), dtype=float)))


def test_scenes_without_two_levels_do_not_count(scenes: dict[str, np.ndarray]) -> None:
    one_level = {"follows": scenes["follows"], "wavers": scenes["wavers"][:1]}
    assert correlation(one_level, LEVELS) == correlation({"follows": scenes["follows"]}, LEVELS)
