"""LVCorr: does the blur of the outputs follow the bokeh level that was asked for?"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchmetrics.utilities import dim_zero_cat

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
    """
    if len(levels) < 2 or np.ptp(levels) == 0 or np.isnan(sharpness).any():
        return math.nan
    if np.ptp(sharpness) <= SAME_SHARPNESS * np.abs(sharpness).max():
        return 0.0
    x, y = levels - levels.mean(), sharpness.mean() - sharpness
    return float((x * y).sum() / math.sqrt((x * x).sum() * (y * y).sum()))


def scene_number(scene: str) -> int:
    """A number for a scene's name that all processes agree on: tensors, not strings, travel between them."""
    return int.from_bytes(hashlib.blake2b(scene.encode(), digest_size=7).digest(), "big")


class LVCorr(SampleMetric):
    """Correlation of bokeh level and blur, a mean over scenes; rows keep the sharpness of each output.

    ``update(prediction_B3HW, levels_B, scenes)``. The paper asks it of the add-bokeh sub-task: one scene, one focus
    point, four levels.
    """

    column, label, higher_is_better = "sharpness", "LVCorr", True
    inputs = ("prediction",)
    subtasks = ("add_bokeh",)
    scenes: list[Tensor]
    levels: list[Tensor]
    sharpness: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("scenes", "levels", "sharpness"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def score(self, prediction_B3HW: Tensor) -> Tensor:
        """Variance of the luminance Laplacian of each output, ``(B,)``."""
        return laplacian_variance(prediction_B3HW)

    def update(self, prediction_B3HW: Tensor, levels_B: Tensor, scenes: Sequence[str]) -> None:  # type: ignore[override]
        """Take in outputs with their levels ``(B,)`` and the names of their scenes."""
        device = prediction_B3HW.device
        self.scenes.append(torch.tensor([scene_number(scene) for scene in scenes], device=device))
        self.levels.append(levels_B.to(device, torch.float64))
        self.sharpness.append(self.score(prediction_B3HW).double())

    def compute(self) -> Tensor:
        """Mean over the scenes seen by all processes; NaN if none has two levels."""
        scenes, levels, sharpness = (
            dim_zero_cat(state).cpu().numpy() for state in (self.scenes, self.levels, self.sharpness)
        )
        totals = [self.scene_totals(sharpness[scenes == scene], levels[scenes == scene]) for scene in np.unique(scenes)]
        total, weight = np.sum(totals, axis=0)
        return torch.tensor(total / weight if weight else math.nan, dtype=torch.float32)

    def scene_totals(self, scores: np.ndarray, levels: np.ndarray) -> tuple[float, float]:
        """The scene's correlation with weight 1, or nothing where it has none."""
        correlation = level_correlation(levels, scores)
        return (0.0, 0.0) if math.isnan(correlation) else (correlation, 1.0)
