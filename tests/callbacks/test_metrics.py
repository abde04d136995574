"""The metrics callback: the table, the rows and the logged numbers, and that two processes give those of one."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import lightning.pytorch as pl
import pytest
import torch

from diffcam.callbacks.metrics import MetricsTable
from diffcam.metrics import MAE, PSNR, LVCorr, estimate, read_rows

SCRIPT = Path(__file__).with_name("run_test_loop.py")
_spec = importlib.util.spec_from_file_location("run_test_loop", SCRIPT)
assert _spec is not None
assert _spec.loader is not None
loop = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(loop)


@pytest.fixture(scope="module")
def one_process(tmp_path_factory) -> tuple[dict[str, float], Path]:
    folder = tmp_path_factory.mktemp("one")
    return loop.run(folder, devices=1, scenes=3), folder


def test_logged_numbers_are_those_of_the_samples(one_process: tuple[dict[str, float], Path]) -> None:
    logged, _ = one_process
    samples = loop.Samples(3)
    errors = {}
    for sample in (samples[i] for i in range(len(samples))):
        share = sample.cameras[0].bokeh / 20
        output = (1 - share) * sample.targets[0] + share * sample.reference
        errors.setdefault(sample.subtask, []).append(float((output - sample.targets[0]).abs().mean()))
    for subtask, values in errors.items():
        assert logged[f"test/{subtask}/mae"] == pytest.approx(sum(values) / len(values), abs=1e-3)
    everything = [error for values in errors.values() for error in values]
    assert logged["test/all/mae"] == pytest.approx(sum(everything) / len(everything), abs=1e-3)
    assert "test/refocus/lvcorr" not in logged
    assert -1 <= logged["test/add_bokeh/lvcorr"] <= 1


def test_rows_of_model_and_controls(one_process: tuple[dict[str, float], Path]) -> None:
    logged, folder = one_process
    rows = read_rows(folder / "samples.csv")
    assert [row.sample for row in rows] == list(range(21)) * 3
    by_method = {name: [row for row in rows if row.method == name] for name in ("model", "copy", "ground truth")}
    assert estimate(by_method["model"], MAE()).value == pytest.approx(logged["test/all/mae"], abs=1e-6)
    assert all(row.scores["mae"] == 0 and row.scores["psnr"] == float("inf") for row in by_method["ground truth"])
    assert min(row.scores["mae"] for row in by_method["copy"]) > 0.2


def test_printed_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loop.run(tmp_path, devices=1, scenes=2, controls=True, intervals=True)
    printed = capsys.readouterr().out
    lines = [line.split() for line in printed.splitlines()]
    assert ["sub-task", "method", "samples", "MAE", "↓", "PSNR", "↑", "LVCorr", "↑"] in lines
    assert ["refocus", "ground", "truth", "4", "0.000", "∞", "–"] in lines
    assert any(line[:3] == ["remove", "bokeh", "model"] and line[3] == "4" for line in lines)
    assert any(line[:2] == ["all", "copy"] and line[2] == "14" for line in lines)
    assert str(tmp_path / "samples.csv") in printed


def test_without_controls(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    loop.run(tmp_path, devices=1, scenes=1, controls=False)
    assert {row.method for row in read_rows(tmp_path / "samples.csv")} == {"model"}


@pytest.mark.slow
def test_two_processes_give_the_table_of_one(tmp_path: Path, one_process: tuple[dict[str, float], Path]) -> None:
    """Also where a sampler repeats a sample to fill up: 21 samples for two processes."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(SCRIPT), str(tmp_path), "3"]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert finished.returncode == 0, finished.stderr[-3000:]
    logged, folder = one_process
    assert (tmp_path / "samples.csv").read_text() == (folder / "samples.csv").read_text()
    assert finished.stdout.count("sub-task") == 1, "only one process prints"
    two = json.loads((tmp_path / "logged.json").read_text())
    table = {name: value for name, value in logged.items() if name.startswith("test/")}
    assert {name: two[name] for name in table} == pytest.approx(table, rel=1e-6)
    assert two["samples"] == logged["samples"] == 21, "the sampler repeated one, which counts once"
    assert two["mae"] == pytest.approx(logged["test/all/mae"], rel=1e-6)
    assert two["lvcorr"] == pytest.approx(logged["test/add_bokeh/lvcorr"], rel=1e-6)


class ValidationTask(loop.Task):
    def training_step(self, batch: object) -> torch.Tensor:
        return torch.zeros((), requires_grad=True)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)


def test_validation_logs_without_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    trainer = pl.Trainer(
        accelerator="cpu",
        default_root_dir=tmp_path,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[MetricsTable()],
    )
    trainer.validate(ValidationTask(), loop.loader(1), verbose=False)
    logged = trainer.logged_metrics
    assert {"val/all/mae", "val/all/psnr", "val/refocus/mae", "val/remove_bokeh/psnr"} <= set(logged)
    assert not (tmp_path / "samples.csv").exists()
    assert "sub-task" not in capsys.readouterr().out


def test_a_step_without_images_is_refused() -> None:
    batch = loop.collate([loop.Samples(1)[0]])
    callback = MetricsTable(metrics=[MAE(), PSNR(), LVCorr()])
    with pytest.raises(TypeError, match=r"test_step must return .*images.*, got Tensor"):
        callback.on_test_batch_end(None, None, torch.zeros(1), batch)  # type: ignore[arg-type]
    callback.on_validation_batch_end(None, None, torch.zeros(1), batch)  # type: ignore[arg-type]
    assert not callback.validation_scores.update_called
