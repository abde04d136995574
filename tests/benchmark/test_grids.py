"""Qualitative grids: what is in which cell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from diffcam.benchmark import Copy, DepthRenderer, Edition, GroundTruth, Results, level_sweep, run_method, write_grids
from diffcam.benchmark.grids import CELL, GAP, LABEL, draw_grid, mark_focus
from diffcam.data import write_shard
from diffcam.errors import DiffcamError
from diffcam.metrics import MAE


@pytest.fixture
def results(edition: Edition, tmp_path: Path) -> dict[str, Results]:
    methods = {"copy": Copy(), "renderer": DepthRenderer(), "ground-truth": GroundTruth()}
    return {name: run_method(name, method, edition, [MAE()], tmp_path) for name, method in methods.items()}


def cell(picture: Image.Image, row: int, column: int, height: int = CELL) -> np.ndarray:
    left, top = GAP + column * (CELL + GAP), LABEL + row * (height + GAP)
    return np.asarray(picture.crop((left, top, left + CELL, top + height))).astype(float) / 255


def enlarged(image: torch.Tensor) -> np.ndarray:
    pixels = (image * 255).round().byte().permute(1, 2, 0).numpy()
    return np.asarray(Image.fromarray(pixels).resize((CELL, CELL), Image.Resampling.LANCZOS)).astype(float) / 255


def test_one_grid_a_subtask(edition, results, tmp_path) -> None:
    paths = write_grids(edition, results, tmp_path / "grids")
    assert [path.name for path in paths] == ["refocus.png", "add_bokeh.png", "remove_bokeh.png"]
    with Image.open(paths[1]) as picture:
        assert picture.size == (GAP + 3 * (CELL + GAP), LABEL + GAP + 2 * (CELL + GAP)), "reference, renderer, target"
        for row, number in enumerate((5, 15)):  # the strongest level of each scene
            sample = edition[number]
            output = results["renderer"].load_output(number)
            assert np.abs(cell(picture, row, 1) - enlarged(output)).max() < 2 / 255
            assert np.abs(cell(picture, row, 2) - enlarged(sample.targets[0])).max() < 2 / 255


def test_level_sweep(edition, results, tmp_path) -> None:
    path = level_sweep(edition, results, tmp_path / "sweep.png", "small-000000/000000", ["renderer", "copy"])
    levels = sorted(edition[number].cameras[0].bokeh for number in range(2, 6))
    assert levels == [edition[number].cameras[0].bokeh for number in range(2, 6)]
    with Image.open(path) as picture:
        for column, number in enumerate(range(2, 6), start=1):
            assert np.abs(cell(picture, 0, column) - enlarged(results["renderer"].load_output(number))).max() < 2 / 255
    with pytest.raises(DiffcamError, match="no such scene"):
        level_sweep(edition, results, tmp_path / "sweep.png", "elsewhere", ["renderer"])


def test_wrong_depth_is_shown_with_its_map(edition, tmp_path) -> None:
    """Two scenes, one of which says that its map is wrong: it alone stands in the further grid."""
    scenes = [entry.read() for entry in edition.entries]
    scenes[1] = replace(scenes[1], metadata={"disparity_is_wrong": True})
    write_shard(tmp_path / "wrong-000000.tar", scenes, image_format="png")
    wrong = Edition([str(tmp_path / "wrong-000000.tar")], edition.resolution, edition.renderer)
    paths = write_grids(wrong, {}, tmp_path / "grids")
    assert paths[-1].name == "wrong_depth.png"
    with Image.open(paths[-1]) as picture:
        assert picture.size == (GAP + 3 * (CELL + GAP), LABEL + GAP + CELL + GAP), "reference, disparity, target"
        sample = wrong[11]
        assert np.abs(cell(picture, 0, 1) - enlarged(sample.disparity.expand(3, -1, -1))).max() < 2 / 255
        assert np.abs(cell(picture, 0, 2) - enlarged(sample.targets[0])).max() < 2 / 255


def test_missing_outputs_are_labelled() -> None:
    picture = draw_grid(["a", "b"], [[torch.zeros(3, 10, 20), "no output"]])
    assert picture.size == (GAP + 2 * (CELL + GAP), LABEL + GAP + CELL // 2 + GAP)
    assert cell(picture, 0, 0, CELL // 2).max() == 0
    assert 0 < (cell(picture, 0, 1, CELL // 2) < 0.5).mean() < 0.1, "dark letters on white"


def test_focus_frame() -> None:
    marked = mark_focus(torch.zeros(3, 100, 200), (0.25, 0.5))
    rows, columns = np.nonzero(marked[0].numpy())
    assert (columns.min() + columns.max()) / 2 == pytest.approx(50, abs=1)
    assert (rows.min() + rows.max()) / 2 == pytest.approx(50, abs=1)
    assert columns.max() - columns.min() == pytest.approx(12, abs=1)
    assert float(marked[0, 50, 50]) == 0, "what is in focus is not covered"
