"""Runs: every sample once, kept when something breaks, continued where they stopped, the same in two processes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from diffcam.benchmark import Copy, Edition, GroundTruth, Method, NotAvailableError, run_method
from diffcam.benchmark.run import describe
from diffcam.data import BokehRenderer, write_shard
from diffcam.data.batch import RefocusSample
from diffcam.data.perturbation import DepthDropout
from diffcam.errors import DiffcamError
from diffcam.metrics import MAE, PSNR, LVCorr, MissingWeightsError, SampleMetric


class Darker(Method):
    """Counts its calls; may fail at some samples, or be stopped after some calls."""

    def __init__(self, factor: float = 0.5) -> None:
        self.factor = factor
        self._calls: list[int] = []
        self._fails: set[int] = set()
        self._stop_after = 10**9

    def __call__(self, sample: RefocusSample) -> torch.Tensor:
        if len(self._calls) >= self._stop_after:
            raise KeyboardInterrupt
        self._calls.append(sample.index)
        if sample.index in self._fails:
            raise DiffcamError("the server\nwas not at home")
        return sample.reference * self.factor


METRICS = (MAE(), PSNR(), LVCorr())


def test_every_sample_is_scored(edition, tmp_path) -> None:
    results = run_method("ground-truth", GroundTruth(), edition, METRICS, tmp_path)
    assert sorted(results.rows) == list(range(20))
    assert {row.scores["mae"] for row in results.rows.values()} == {0}
    assert {row.source for row in results.rows.values()} == {"camera", "phone"}
    assert not (tmp_path / "ground-truth" / "outputs").exists(), "what lies in the benchmark is not copied"


def test_a_second_run_does_nothing(edition, tmp_path) -> None:
    first, second = Darker(), Darker()
    run_method("darker", first, edition, METRICS, tmp_path)
    files = {path: path.read_bytes() for path in (tmp_path / "darker").glob("samples.*")}
    run_method("darker", second, edition, METRICS, tmp_path)
    assert len(first._calls) == 20
    assert second._calls == []
    assert {path: path.read_bytes() for path in (tmp_path / "darker").glob("samples.*")} == files


def test_a_stopped_run_goes_on(edition, tmp_path) -> None:
    stopped, going_on, whole = Darker(), Darker(), Darker()
    stopped._stop_after = 13
    with pytest.raises(KeyboardInterrupt):
        run_method("darker", stopped, edition, METRICS, tmp_path)
    run_method("darker", going_on, edition, METRICS, tmp_path)
    assert going_on._calls == list(range(13, 20)), "thirteen outputs were kept"
    run_method("darker", whole, edition, METRICS, tmp_path / "other")
    paths = [tmp_path / "darker" / "samples.csv", tmp_path / "other" / "darker" / "samples.csv"]
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_killed_process_leaves_rows_and_outputs(edition, tmp_path) -> None:
    run_method("darker", Darker(), edition, METRICS, tmp_path)
    folder = tmp_path / "darker"
    rows = (folder / "samples.csv").read_text().splitlines()
    # as a kill leaves it: a journal with a torn last line, no CSV, one torn output
    journal = [json.dumps(_journal_entry(line, rows[0])) for line in rows[1:11]]
    (folder / "samples.jsonl").write_text("\n".join(journal) + '\n{"method": "dark')
    (folder / "samples.csv").unlink()
    (folder / "outputs" / "000015.png").write_bytes(b"\x89PNG torn")
    again = Darker()
    results = run_method("darker", again, edition, METRICS, tmp_path)
    assert again._calls == [15]
    assert (folder / "samples.csv").read_text().splitlines() == rows
    assert sorted(results.rows) == list(range(20))


def _journal_entry(line: str, header: str) -> dict[str, object]:
    record = dict(zip(header.split(","), line.split(","), strict=True))
    fields = {name: record.pop(name) for name in ("method", "sample", "scene", "subtask", "source", "bokeh")}
    focus = [float(record.pop("focus_x")), float(record.pop("focus_y"))]
    scores = {name: float(value) for name, value in record.items()}
    return {
        **fields,
        "sample": int(fields["sample"]),
        "bokeh": float(fields["bokeh"]),
        "focus": focus,
        "scores": scores,
    }


def test_results_of_other_weights_are_refused(edition, tmp_path) -> None:
    class Trained(Darker):
        _version = "first"

        def fingerprint(self) -> str:
            return self._version

    method = Trained()
    run_method("trained", method, edition, METRICS, tmp_path, order=1)
    method._version = "second"
    with pytest.raises(DiffcamError, match="holds results with another weights"):
        run_method("trained", method, edition, METRICS, tmp_path)
    method._version = ""  # gone: what they made stays good
    run_method("trained", method, edition, METRICS, tmp_path, order=2)
    assert len(method._calls) == 20
    method._version = "second"
    results = run_method("trained", method, edition, METRICS, tmp_path, force=True)
    assert len(method._calls) == 40
    assert results.record["weights"] == "second"


def test_an_edition_may_grow(edition, shard, tmp_path) -> None:
    """Further shards behind those that were there: their samples alone are made; with others, nothing holds."""
    scene = edition.entries[0].read()
    write_shard(tmp_path / "z-000000.tar", [replace(scene, key="000009")], image_format="png")
    first, grown, last = Darker(), Darker(), Darker()
    run_method("darker", first, edition, METRICS, tmp_path)
    larger = Edition([str(shard), str(tmp_path / "z-000000.tar")], edition.resolution, edition.renderer)
    results = run_method("darker", grown, larger, METRICS, tmp_path)
    assert grown._calls == list(range(20, 30))
    assert sorted(results.rows) == list(range(30))
    moved = Edition([str(tmp_path / "z-000000.tar"), str(shard)], edition.resolution, edition.renderer)
    for other in (moved, edition):
        with pytest.raises(DiffcamError, match="holds results with another edition"):
            run_method("darker", last, other, METRICS, tmp_path)


def test_failed_samples_are_named_and_tried_again(edition, tmp_path) -> None:
    failing, mended = Darker(), Darker()
    failing._fails = {3, 14}
    results = run_method("darker", failing, edition, METRICS, tmp_path)
    assert sorted(set(range(20)) - set(results.rows)) == [3, 14]
    assert results.record["failures"] == {"3": "the server was not at home", "14": "the server was not at home"}
    results = run_method("darker", mended, edition, METRICS, tmp_path)
    assert mended._calls == [3, 14]
    assert len(results.rows) == 20
    assert results.record["failures"] == {}


@pytest.mark.parametrize(
    ("output", "reason"),
    [(torch.zeros(3, 5, 5), "output of (3, 5, 5) for a reference"), (torch.full((3, 96, 96), torch.nan), "NaN")],
)
def test_outputs_that_cannot_be_compared(edition, tmp_path, output, reason) -> None:
    class Wrong(Method):
        def __call__(self, sample: RefocusSample) -> torch.Tensor:
            return output

    results = run_method("wrong", Wrong(), edition, METRICS, tmp_path)
    assert results.rows == {}
    assert reason in results.record["failures"]["0"]


def test_a_method_that_cannot_run(edition, tmp_path) -> None:
    class Absent(Copy):
        def prepare(self, folder: Path) -> None:
            raise NotAvailableError("no weights at hand")

    results = run_method("absent", Absent(), edition, METRICS, tmp_path)
    assert results.rows == {}
    assert results.record["not_available"] == "no weights at hand"


class Sharpish(SampleMetric):
    column, label, higher_is_better = "sharpish", "Sharpish", True
    inputs = ("prediction",)

    def __init__(self, available: bool) -> None:
        super().__init__()
        self._available = available

    def prepare(self) -> None:
        if not self._available:
            raise MissingWeightsError("not yet")

    def score(self, prediction: torch.Tensor) -> torch.Tensor:
        return prediction.std(dim=(1, 2, 3))


def test_a_new_metric_is_computed_from_kept_outputs(edition, tmp_path) -> None:
    run_method("darker", Darker(), edition, [*METRICS, Sharpish(available=False)], tmp_path)
    again = Darker()
    results = run_method("darker", again, edition, [*METRICS, Sharpish(available=True)], tmp_path)
    assert again._calls == []
    assert all("sharpish" in row.scores for row in results.rows.values())


def test_other_settings_are_refused_unless_forced(shard, edition, tmp_path) -> None:
    run_method("darker", Darker(0.5), edition, METRICS, tmp_path)
    with pytest.raises(DiffcamError, match="results with another method"):
        run_method("darker", Darker(0.7), edition, METRICS, tmp_path)
    zeros = Edition([str(shard)], 96, BokehRenderer(gamma=2.2), DepthDropout(1.0))
    with pytest.raises(DiffcamError, match="results with another edition"):
        run_method("darker", Darker(0.5), zeros, METRICS, tmp_path)
    forced = Darker(0.7)
    run_method("darker", forced, edition, METRICS, tmp_path, force=True)
    assert len(forced._calls) == 20, "outputs of other settings are not used"


def test_a_damaged_scene_is_reported_and_the_others_are_kept(shard, tmp_path) -> None:
    damaged = tmp_path / "small-000000.tar"
    content = bytearray(shard.read_bytes())
    at = content.index(b"000001.image.png") + 1024
    content[at : at + 4000] = b"\0" * 4000
    damaged.write_bytes(content)
    results = run_method("copy", Copy(), Edition([str(damaged)], 96), METRICS, tmp_path / "out")
    assert sorted(results.rows) == list(range(10))
    assert sorted(map(int, results.record["failures"])) == list(range(10, 20))
    assert "000001.image.png" in results.record["failures"]["10"]


def test_perturbed_disparity_is_what_methods_see(shard) -> None:
    zeros = Edition([str(shard)], 96, perturbation=DepthDropout(1.0))
    assert float(zeros[0].disparity.abs().max()) == 0
    assert float(zeros[0].exact_disparity.max()) > 0.5
    assert zeros.identity() != Edition([str(shard)], 96).identity()


def test_description_leaves_out_what_has_no_effect() -> None:
    class Tuned(Copy):
        without_effect = ("device",)

        def __init__(self, device: str, steps: int) -> None:
            self.device, self.steps, self._cache = device, steps, object()

    assert describe(Tuned("cpu", 4)) == describe(Tuned("cuda", 4)) != describe(Tuned("cpu", 5))


@pytest.mark.slow
def test_two_processes_give_the_rows_of_one(edition, tmp_path) -> None:
    one = run_method("copy", Copy(), edition, METRICS, tmp_path / "one")
    two = run_method("copy", Copy(), edition, METRICS, tmp_path / "two", workers=2)
    assert len(one.rows) == 20
    paths = [tmp_path / name / "copy" / "samples.csv" for name in ("one", "two")]
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert two.record["failures"] == {}
