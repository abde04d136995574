"""Rows of scores: what is in them, their file, and what happens without weights."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from diffcam.camera import Camera
from diffcam.data import RefocusBatch, RefocusSample, collate
from diffcam.errors import DiffcamError
from diffcam.metrics import MAE, PSNR, MissingWeightsError, Row, SampleMetric, Scores, read_rows, write_rows


def batch() -> RefocusBatch:
    """Two samples of values below a half, whose reference is their target."""
    images = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 0.5
    named = (("a", "refocus", "camera", 4.0, 0.25), ("b", "add_bokeh", "phone", 9.0, 0.75))
    return collate(
        [
            RefocusSample(
                reference=image,
                targets=image[None],
                disparity=torch.zeros(1, 16, 16),
                cameras=(Camera((x, 0.5), level),),
                index=7 + number,
                scene=scene,
                subtask=subtask,
                source=source,
            )
            for number, (image, (scene, subtask, source, level, x)) in enumerate(zip(images, named, strict=True))
        ]
    )


def rows_of(metrics: list[SampleMetric], outputs: torch.Tensor, method: str = "model") -> list[Row]:
    scores = Scores(metrics)
    scores.update(method, batch(), outputs)
    return scores.compute()


class Unavailable(SampleMetric):
    column, label, higher_is_better = "unavailable", "Unavailable", True

    def prepare(self) -> None:
        raise MissingWeightsError("no such weights")

    def score(self, *inputs: object) -> torch.Tensor:
        raise AssertionError("has no weights to score with")


def test_rows() -> None:
    scores = Scores([MAE(), Unavailable()])
    scores.update("model", batch(), batch().reference + 0.25)
    rows = scores.compute()
    assert [(r.method, r.sample, r.scene, r.subtask, r.source) for r in rows] == [
        ("model", 7, "a", "refocus", "camera"),
        ("model", 8, "b", "add_bokeh", "phone"),
    ]
    assert [(r.bokeh, r.focus) for r in rows] == [(4, (0.25, 0.5)), (9, (0.75, 0.5))]
    assert [set(r.scores) for r in rows] == [{"mae"}, {"mae"}]
    assert rows[0].scores["mae"] == pytest.approx(0.25, abs=1 / 255)
    assert scores.missing == {"unavailable": "no such weights"}


def test_scores_are_those_of_the_saved_picture() -> None:
    output = batch().reference + 1 / 1000
    saved = (output * 255).round().byte().float() / 255
    metrics = [MAE(), PSNR()]
    assert rows_of(metrics, output) == rows_of(metrics, saved)
    assert rows_of(metrics, batch().targets[:, 0], "truth")[0].scores == {"mae": 0, "psnr": math.inf}


def test_outputs_beyond_the_range_are_clipped() -> None:
    above, white = torch.full((2, 3, 16, 16), 1.5), torch.ones(2, 3, 16, 16)
    assert rows_of([MAE()], above) == rows_of([MAE()], white)


def test_columns_must_differ() -> None:
    with pytest.raises(ValueError, match="different columns, got mae, mae"):
        Scores([MAE(), MAE()])


def test_repeated_samples_count_once_and_methods_keep_their_order() -> None:
    scores, given = Scores([MAE()]), batch()
    for method, start in (("model", 1), ("copy", 0), ("model", 0)):
        part = given.part(start, 2)
        scores.update(method, part, part.reference + (0.5 if method == "copy" else 0.25))
    rows = scores.compute()
    assert [(row.method, row.sample) for row in rows] == [("model", 7), ("model", 8), ("copy", 7), ("copy", 8)]
    assert [row.scores["mae"] for row in rows] == pytest.approx([0.25, 0.25, 0.5, 0.5], abs=1 / 255)


def test_what_was_computed_does_not_end_the_collection() -> None:
    scores, given = Scores([MAE()]), batch()
    scores.update("model", given.part(0, 1), given.reference[:1])
    assert len(scores.compute()) == 1
    scores.update("model", given.part(1, 2), given.reference[1:])
    assert len(scores.compute()) == 2
    scores.reset()
    scores.update("model", given.part(1, 2), given.reference[1:])
    assert [row.sample for row in scores.compute()] == [8]


def test_file_round_trip(tmp_path: Path) -> None:
    scores = {"mae": 0.125, "psnr": math.inf}
    rows = [
        Row("model", 3, "night, city", "refocus", "camera", 4.5, (0.25, 0.75), scores),
        Row("copy", 3, "a", "refocus", "ai", 1, (0, 1), scores),
    ]
    write_rows(tmp_path / "rows.csv", rows)
    assert read_rows(tmp_path / "rows.csv") == rows


def test_undefined_scores_survive_the_file(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.csv", [Row("model", 3, "a", "refocus", "camera", 4.5, (0, 0), {"mae": math.nan})])
    assert math.isnan(read_rows(tmp_path / "rows.csv")[0].scores["mae"])


def test_a_damaged_file_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    write_rows(path, [Row("model", 3, "a", "refocus", "camera", 4.5, (0.25, 0.75), {"mae": 0.5})])
    path.write_text(path.read_text() + "model,four,a,refocus,camera,1,0,0,0.5\n")
    with pytest.raises(DiffcamError, match=r"rows.csv, line 3: not a row of scores"):
        read_rows(path)
