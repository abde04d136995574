"""The ablation's configs: each trains for some steps through the users' own command line, and changes what it says."""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from diffcam.benchmark.paper import TABLES
from diffcam.benchmark.setup import read_setup
from diffcam.commands.cli import run_diffcam, train
from diffcam.data import DepthDropout, EqualThenLinear, Proportional, SingleKind
from diffcam.tasks import SharpnessWeighting, StackingConstraint

ROOT = Path(__file__).parents[1]
CONFIGS = ROOT / "configs"
TRAINED = sorted(path for path in (CONFIGS / "ablation").glob("*.yaml") if path.stem not in ("benchmark", "zero-depth"))

STEPS = torch.tensor([0, 1000, 1999])
SCENES = {"ai": 10, "photo": 30}

EXPECTED: dict[str, dict[str, Any]] = {
    "full": {"mixture": EqualThenLinear, "ai": [0.5, 0.77, 1.0]},
    "only-photo": {"mixture": SingleKind, "ai": [0.0, 0.0, 0.0]},
    "only-ai": {"mixture": SingleKind, "ai": [1.0, 1.0, 1.0]},
    "no-balancing": {"mixture": Proportional, "ai": [0.25, 0.25, 0.25]},
    "no-depth": {"dropout": 1.0, "test_dropout": 1.0},
    "no-dropout": {"dropout": 0.0},
    "no-stacking": {"weight": 0.0},
    "coarse-stacking": {"cell": 8},
    "reweighting": {"cell": 8, "stacking": SharpnessWeighting},
}
"""What each run has that the others have not; the rest is that of ``full``."""


def quick_or_slow(path: Path) -> Any:
    """One of them stands for all in the quick tests: reading a command line takes seconds."""
    return pytest.param(path, id=path.stem, marks=[] if path.stem == "reweighting" else pytest.mark.slow)


def run(command: str, config: Path, folder: Path, *options: str) -> Any:
    """The command line that users type, in this process; returns Lightning's CLI object."""
    arguments = [command, "--config", str(config), "--config", str(ROOT / "tests" / "small.yaml")]
    arguments += ["--trainer.logger.init_args.save_dir", str(folder), "--trainer.default_root_dir", str(folder)]
    arguments += ["--trainer.accelerator", "cpu", "--trainer.enable_progress_bar", "false", *options]
    with contextlib.redirect_stdout(io.StringIO()):
        return train(arguments)


@pytest.mark.parametrize("path", [*map(quick_or_slow, TRAINED)])
def test_trains_and_is_what_it_says(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["lightning"])
    options = ["--trainer.max_steps", "2", "--trainer.limit_val_batches", "0", "--trainer.val_check_interval", "null"]
    cli = run("fit", path, tmp_path, *options)
    assert cli.trainer.global_step == 2
    assert (tmp_path / path.stem / "fit" / "export" / "refocus.json").is_file(), "where benchmark.yaml looks for it"

    expected = EXPECTED["full"] | {"dropout": 0.5, "weight": 0.1, "cell": 1, "stacking": StackingConstraint}
    expected |= EXPECTED[path.stem]
    data, task = cli.datamodule, cli.model
    assert type(data.mixture) is expected["mixture"]
    assert data.mixture.probabilities(STEPS, SCENES)[:, 0].tolist() == pytest.approx(expected["ai"], abs=0.01)
    assert type(data.perturbation) is DepthDropout
    assert data.perturbation.probability == expected["dropout"]
    assert getattr(data.test_perturbation, "probability", None) == expected.get("test_dropout")
    assert (task.stacking_weight, task.stacking.cell) == (expected["weight"], expected["cell"])
    assert type(task.stacking) is expected["stacking"]


def test_every_run_trains_equally_long() -> None:
    for path in TRAINED:
        assert path.stem == "full" or "trainer.max_steps" not in yaml.safe_load(path.read_text())


@pytest.mark.slow
def test_the_full_run_is_tested_without_depth(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["lightning"])
    options = ["--trainer.max_steps", "1", "--trainer.limit_val_batches", "0", "--trainer.val_check_interval", "null"]
    full = CONFIGS / "ablation" / "full.yaml"
    run("fit", full, tmp_path, *options)
    options = ["--trainer.limit_test_batches", "2", "--evaluated_weights", str(tmp_path / "full" / "fit" / "export")]
    cli = run("test", full.with_name("zero-depth.yaml"), tmp_path, *options)
    assert cli.datamodule.test_perturbation.probability == 1.0
    assert (tmp_path / "zero-depth" / "test" / "samples.csv").is_file()


def test_the_benchmark_measures_every_run() -> None:
    setup = read_setup(CONFIGS / "ablation" / "benchmark.yaml")
    rows = {row.run for number in "3456" for row in TABLES[number].rows}
    assert set(setup.methods) == rows
    assert {path.stem for path in TRAINED} | {"zero-depth"} <= rows
    sources = {name: getattr(method, "method", method) for name, method in setup.methods.items()}
    assert sources["no-depth"].source == "outputs/ablation/no-depth/fit/export"
    assert sources["zero-depth"].source == sources["full"].source == "outputs/ablation/full/fit/export"


@pytest.mark.slow
def test_from_training_to_the_papers_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two runs of three are trained: the table shows both beside the paper's figures, and says that one is missing."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["lightning"])
    options = ["--trainer.max_steps", "2", "--trainer.limit_val_batches", "0", "--trainer.val_check_interval", "null"]
    for name in ("full", "reweighting"):
        run("fit", CONFIGS / "ablation" / f"{name}.yaml", tmp_path / "outputs" / "ablation", *options)
    monkeypatch.chdir(tmp_path)
    configs = ["--config", str(CONFIGS / "ablation" / "benchmark.yaml")]
    chosen = ["--methods", "full", "zero-depth", "no-stacking", "reweighting", "--workers", "1"]
    edition = ["--shards", str(ROOT / "data_shards" / "heldout-stereo-*.tar"), "--resolution", "96"]
    run_diffcam(["benchmark", "run", *configs, *chosen, *edition, "--output", "results"])
    assert "no-stacking: not available: outputs/ablation/no-stacking/fit/export" in capsys.readouterr().out
    run_diffcam(["benchmark", "table", "results", "--paper", "4", "5", "--no-intervals"])
    lines = [line.rsplit("  ", 1)[0] for line in capsys.readouterr().out.splitlines()]
    starts = [" ".join(line.split()[:6]) for line in lines]
    for expected in ("w/ depth dropout full", "w/ depth dropout, 0 depth zero-depth", "w/ stacking full",
                     "control: weighted flow loss reweighting", "w/o stacking (paper)"):  # fmt: skip
        assert any(start.startswith(expected) for start in starts), expected
    assert not any(start.startswith("w/o stacking no-stacking") for start in starts)
