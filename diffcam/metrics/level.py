"""LVCorr: does the blur of the outputs follow the bokeh level that was asked for?"""

from __future__ import annotations

import math

import numpy as np
from torch import Tensor

from diffcam.functional.sharpness import laplacian_variance
from diffcam.metrics.base import SampleMetric

SAME_SHARPNESS = 1e-5
"""Relative spread of sharpness below which outputs count as equal: what float32 sums leave between copies."""


def level_correlation(levels: np.ndarray, sharpness: np.ndarray) -> float:
    """Pearson correlation of one scene's levels with the negated sharpness of its outputs (paper, section 4.2).

    Args:
        levels: ``(n,)`` bokeh levels asked for.
        sharpness: ``(n,)`` variances of the Laplacian of the outputs.

    Returns:
        A number in [-1, 1]; 0 where all outputs are equally sharp, for they do not follow the level; NaN with
        fewer than two different levels, where the question cannot be asked.

    Examples:
        >>> round(level_correlation(np.array([1.0, 4.0, 9.0]), sharpness=np.array([0.9, 0.6, 0.1])), 6)
        1.0
    """
    if len(levels) < 2 or np.ptp(levels) == 0 or np.isnan(sharpness).any():
        return math.nan
    if np.ptp(sharpness) <= SAME_SHARPNESS * np.abs(sharpness).max():
        return 0.0
    return float(np.corrcoef(levels, -sharpness)[0, 1])


class LVCorr(SampleMetric):
    """Correlation of bokeh level and blur, a mean over scenes; rows keep the sharpness of each output.

    The paper asks it of the add-bokeh sub-task: one scene, one focus point, four levels.

    Examples:
        >>> total, weight = LVCorr().scene_totals(scores=np.array([0.9, 0.6, 0.1]), levels=np.array([1.0, 4.0, 9.0]))
        >>> round(total, 6), weight
        (1.0, 1.0)
    """

    column, label, higher_is_better = "sharpness", "LVCorr", True
    inputs = ("prediction",)
    subtasks = ("add_bokeh",)

    def score(self, prediction_B3HW: Tensor) -> Tensor:
        """Variance of the luminance Laplacian of each output, ``(B,)``."""
        return laplacian_variance(prediction_B3HW)

    def scene_totals(self, scores: np.ndarray, levels: np.ndarray) -> tuple[float, float]:
        """The scene's correlation with weight 1, or nothing where it has none."""
        correlation = level_correlation(levels, scores)
        return (0.0, 0.0) if math.isnan(correlation) else (correlation, 1.0)
