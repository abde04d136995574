"""Where errors lie: distances and profiles by hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch

from diffcam.benchmark import (
    Copy,
    DepthRenderer,
    Edition,
    Results,
    edge_distance,
    error_by_edge_distance,
    run_method,
    worst_samples,
)
from diffcam.benchmark.analysis import EDGE_STEP
from diffcam.data import BokehRenderer
from diffcam.metrics import MAE


def test_distance_from_a_step() -> None:
    disparity = torch.zeros(1, 6, 20)
    disparity[..., 12:] = 0.5
    expected = [12 - x - 1 if x < 12 else x - 12 for x in range(20)]
    assert edge_distance(disparity)[3].tolist() == expected
    assert edge_distance(disparity.transpose(1, 2))[:, 3].tolist() == expected


def test_slopes_have_no_edge() -> None:
    slope = torch.linspace(0, 0.9 * EDGE_STEP * 19, 20).expand(1, 6, 20)
    assert np.isinf(edge_distance(slope)).all()


@pytest.fixture
def results(edition: Edition, tmp_path: Path) -> dict[str, Results]:
    methods = {"copy": Copy(), "renderer": DepthRenderer(BokehRenderer(gamma=2.2))}
    return {name: run_method(name, method, edition, [MAE()], tmp_path) for name, method in methods.items()}


def test_profile_adds_up_to_the_error(edition, results) -> None:
    """All distances together are all pixels: the mean is the metric's, which rounds pictures to 8 bits first."""
    found = error_by_edge_distance(edition, results, "copy", bounds=(0, 5, 20, 10_000))
    assert sum(found.pixels) == 20 * 96 * 96
    mean = np.average(found.errors, weights=found.pixels)
    assert mean == pytest.approx(np.mean([row.scores["mae"] for row in results["copy"].rows.values()]), abs=3e-4)


def test_profile_of_a_sub_task(edition, results) -> None:
    """The renderer makes the ground truth of add bokeh, wherever one looks; past the last distance lies nothing."""
    found = error_by_edge_distance(edition, results, "renderer", "add_bokeh", bounds=(0, 8, 5000, 6000))
    copied = error_by_edge_distance(edition, results, "copy", "add_bokeh", bounds=(0, 8, 5000, 6000))
    assert found.pixels == copied.pixels
    assert found.errors[0] < copied.errors[0] / 4
    assert math.isnan(found.errors[2])


def test_worst_samples_come_first(results) -> None:
    ranked = worst_samples(results["renderer"], results["copy"])
    gains = [gain for gain, _ in ranked]
    assert gains == sorted(gains)
    assert len(ranked) == 20
    assert {row.subtask for _, row in ranked[-4:]} <= {"add_bokeh", "refocus"}
    last = ranked[-1][1]
    assert gains[-1] == results["copy"].rows[last.sample].scores["mae"] - last.scores["mae"]
