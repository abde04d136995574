"""Rows of scores: what is in them, their file, and what happens without weights."""

from __future__ import annotations

import math

import pytest
import torch

from diffcam.camera import Camera, CameraBatch
from diffcam.errors import DiffcamError
from diffcam.metrics import (
    MAE,
    PSNR,
    Comparison,
    MissingWeightsError,
    Row,
    SampleMetric,
    Scorer,
    read_rows,
    unique_rows,
    write_rows,
)


def comparison(offset: float = 0.25) -> Comparison:
    target = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.5
    return Comparison(
        prediction=target + offset,
        target=target,
        reference=target,
        cameras=CameraBatch.from_cameras([Camera((0.25, 0.5), 4), Camera((0.75, 0.5), 9)]),
        samples=torch.tensor([7, 8]),
        scenes=("a", "b"),
        subtasks=("refocus", "add_bokeh"),
        sources=("camera", "phone"),
    )


class Unavailable(SampleMetric):
    column, label, higher_is_better = "unavailable", "Unavailable", True

    def prepare(self) -> None:
        raise MissingWeightsError("no such weights")


def test_rows():
    scorer = Scorer([MAE(), Unavailable()])
    rows = scorer("model", comparison())
    assert [(r.method, r.sample, r.scene, r.subtask, r.source) for r in rows] == [
        ("model", 7, "a", "refocus", "camera"),
        ("model", 8, "b", "add_bokeh", "phone"),
    ]
    assert [(r.bokeh, r.focus) for r in rows] == [(4, (0.25, 0.5)), (9, (0.75, 0.5))]
    assert [set(r.scores) for r in rows] == [{"mae"}, {"mae"}]
    assert rows[0].scores["mae"] == pytest.approx(0.25, abs=1 / 255)
    assert scorer.missing == {"unavailable": "no such weights"}


def test_scores_are_those_of_the_saved_picture():
    given = comparison(offset=1 / 1000)
    saved = given.with_prediction((given.prediction * 255).round().byte().float() / 255)
    scorer = Scorer([MAE(), PSNR()])
    assert scorer("model", given) == scorer("model", saved)
    assert scorer("truth", given.with_prediction(given.target))[0].scores == {"mae": 0, "psnr": math.inf}


def test_outputs_beyond_the_range_are_clipped():
    given = comparison()
    above = given.with_prediction(torch.full_like(given.target, 1.5))
    white = given.with_prediction(torch.ones_like(given.target))
    assert Scorer([MAE()])("model", above) == Scorer([MAE()])("model", white)


def test_columns_must_differ():
    with pytest.raises(ValueError, match="different columns, got mae, mae"):
        Scorer([MAE(), MAE()])


def test_file_round_trip(tmp_path):
    scores = {"mae": 0.125, "psnr": math.inf}
    rows = [Row("model", 3, "night, city", "refocus", "camera", 4.5, (0.25, 0.75), scores)]
    write_rows(tmp_path / "rows.csv", rows)
    write_rows(tmp_path / "rows.csv", [Row("copy", 3, "a", "refocus", "ai", 1, (0, 1), scores)], append=True)
    first, second = read_rows(tmp_path / "rows.csv")
    assert first == rows[0]
    assert (second.method, second.scene, second.focus) == ("copy", "a", (0, 1))


def test_undefined_scores_survive_the_file(tmp_path):
    write_rows(tmp_path / "rows.csv", [Row("model", 3, "a", "refocus", "camera", 4.5, (0, 0), {"mae": math.nan})])
    assert math.isnan(read_rows(tmp_path / "rows.csv")[0].scores["mae"])


def test_a_damaged_file_is_named_with_its_line(tmp_path):
    path = tmp_path / "rows.csv"
    write_rows(path, [Row("model", 3, "a", "refocus", "camera", 4.5, (0.25, 0.75), {"mae": 0.5})])
    path.write_text(path.read_text() + "model,four,a,refocus,camera,1,0,0,0.5\n")
    with pytest.raises(DiffcamError, match=r"rows.csv, line 3: not a row of scores"):
        read_rows(path)


def test_repeated_samples_count_once():
    row = Row("model", 3, "a", "refocus", "camera", 4.5, (0.25, 0.75), {"mae": 0.5})
    earlier, other = (Row(method, 1, "a", "refocus", "camera", 1, (0, 0), {"mae": 0.1}) for method in ("model", "copy"))
    assert unique_rows([row, other, earlier, row]) == [earlier, row, other]
