"""Error analysis: the samples on which a method fails, and the error near depth edges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from diffcam.benchmark.edition import Edition
from diffcam.benchmark.grids import picture
from diffcam.benchmark.results import Results
from diffcam.camera import reference_scale
from diffcam.metrics import Row

EDGE_STEP = 0.05
"""Difference in disparity of neighbouring pixels above which there is a depth edge between them; chosen."""


def worst_samples(results: Results, baseline: Results, column: str = "mae") -> list[tuple[float, Row]]:
    """Gain of a method over a baseline on each sample, in a score where low is good: ``(gain, row)``, least first."""
    both = [(baseline.rows[number], row) for number, row in results.rows.items() if number in baseline.rows]
    gains = [(other.scores[column] - row.scores[column], row) for other, row in both]
    return sorted(gains, key=lambda pair: pair[0])


def edge_distance(disparity_1HW: Tensor) -> np.ndarray:
    """Distance of each pixel from the nearest depth edge, ``(H, W)`` pixels; infinite where there is no edge.

    Examples:
        >>> edge_distance(torch.tensor([[[0.0, 0.0, 0.0, 1.0, 1.0]]]))
        array([[2., 1., 0., 0., 1.]])
    """
    from scipy.ndimage import distance_transform_edt

    disparity = disparity_1HW[0].numpy()
    edges = np.zeros(disparity.shape, dtype=bool)
    down, right = (np.abs(np.diff(disparity, axis=axis)) > EDGE_STEP for axis in (0, 1))
    edges[:-1] |= down
    edges[1:] |= down
    edges[:, :-1] |= right
    edges[:, 1:] |= right
    return np.asarray(distance_transform_edt(~edges)) if edges.any() else np.full(disparity.shape, np.inf)


@dataclass(frozen=True)
class ErrorProfile:
    """Mean absolute error by distance from the nearest depth edge.

    Args:
        bounds: ``(n + 1,)`` distances, pixels of a 512-pixel short side.
        errors: ``(n,)`` errors between them; NaN where no pixel lies there.
    """

    bounds: tuple[float, ...]
    errors: tuple[float, ...]
    pixels: tuple[int, ...]


def error_by_edge_distance(
    edition: Edition,
    results: Mapping[str, Results],
    name: str,
    subtask: str | None = None,
    bounds: Sequence[float] = (0, 2, 4, 8, 16, 32, 64),
) -> ErrorProfile:
    """Error of a method by the distance from depth edges, where occlusion is hard.

    Args:
        edition: The samples; those without exact disparity are left out.
        results: By method; ``copy`` needs none.
        bounds: Increasing distances, pixels of a 512-pixel short side.
    """
    sums, counts = np.zeros(len(bounds) - 1), np.zeros(len(bounds) - 1, dtype=int)
    for scene in edition.scenes():
        for number, task in zip(scene.numbers, scene.subtasks, strict=True):
            if subtask not in (None, task):
                continue
            sample = edition[number]
            output, disparity = picture(sample, name, results), sample.exact_disparity
            if output is None or disparity is None or bool(disparity.isnan().any()):
                continue
            error = (output - sample.targets[0]).abs().mean(dim=0).double().numpy()
            distance = edge_distance(disparity) / reference_scale(*error.shape)
            place = np.digitize(distance, bounds) - 1
            inside = (place >= 0) & (place < len(sums))
            sums += np.bincount(place[inside], error[inside], len(sums))
            counts += np.bincount(place[inside], minlength=len(sums))
    errors = np.divide(sums, counts, out=np.full(len(sums), np.nan), where=counts > 0)
    return ErrorProfile(tuple(bounds), tuple(errors.tolist()), tuple(counts.tolist()))
