"""``diffcam benchmark run`` and ``table`` on a small edition, with the config that users run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from diffcam.benchmark.setup import read_setup
from diffcam.commands.benchmark import DEFAULT_SETUP
from diffcam.commands.cli import run_diffcam
from diffcam.errors import DiffcamError
from diffcam.metrics import read_rows

CONFIG = """
shards: [SHARD]
resolution: 96
renderer: {class_path: diffcam.data.BokehRenderer, init_args: {gamma: 2.2}}
metrics:
  - class_path: diffcam.metrics.MAE
  - class_path: diffcam.metrics.LVCorr
  - class_path: diffcam.metrics.FocusHit
  - class_path: diffcam.metrics.CLIPI
    init_args: {weights: WEIGHTS}
methods:
  ground-truth: {class_path: diffcam.benchmark.GroundTruth}
  copy: {class_path: diffcam.benchmark.Copy}
  renderer: {class_path: diffcam.benchmark.DepthRenderer}
  absent:
    class_path: diffcam.benchmark.DeblurOnly
    init_args: {deblur: {class_path: diffcam.benchmark.Restormer, init_args: {weights: FOLDER}}}
"""


@pytest.fixture
def config(tmp_path, shard) -> Path:
    path = tmp_path / "benchmark.yaml"
    places = {"SHARD": shard, "WEIGHTS": tmp_path / "clip.pt", "FOLDER": tmp_path / "model"}
    text = CONFIG
    for name, place in places.items():
        text = text.replace(name, str(place))
    path.write_text(text)
    return path


def test_run_then_table(config, tmp_path, capsys) -> None:
    output = tmp_path / "out"
    arguments = ["benchmark", "run", "--config", str(config), "--output", str(output), "--workers", "1"]
    assert run_diffcam(arguments) == 0
    printed = capsys.readouterr().out
    lines = [line.split() for line in printed.splitlines()]
    assert ["refocus", "ground-truth", "4", "0.000", "–", "n/a"] in lines
    assert any(line[:3] == ["add", "bokeh", "renderer"] for line in lines)
    assert "CLIP-I: not available: there is no file" in printed
    assert re.search("absent: not available: .*Restormer", printed)
    assert (output / "table.md").read_text().startswith("**2 scenes at 96x96**")
    assert r"\begin{tabular}" in (output / "table.tex").read_text()
    grids = {path.stem for path in (output / "grids").glob("*.png")}
    assert grids == {"refocus", "add_bokeh", "remove_bokeh", "levels"}
    assert {row.method for row in read_rows(output / "copy" / "samples.csv")} == {"copy"}

    assert run_diffcam(["benchmark", "table", str(output), "--config", str(config), "--format", "markdown"]) == 0
    again = capsys.readouterr().out
    assert "| refocus | ground-truth | 4 | 0.000 | – | n/a |" in again
    run_diffcam(["benchmark", "table", str(output), "--config", str(config), "--source", "phone"])
    of_one = capsys.readouterr().out
    assert of_one.startswith("out, phone")
    assert ["refocus", "ground-truth", "2"] in [line.split()[:3] for line in of_one.splitlines()]
    with pytest.raises(DiffcamError, match=r"--source moon: the results have camera, phone"):
        run_diffcam(["benchmark", "table", str(output), "--config", str(config), "--source", "phone", "moon"])
    assert run_diffcam(["benchmark", "table", str(output), "--paper", "2", "3", "--format", "latex"]) == 0
    assert r"Restormer & (paper) & 0.971 & 0.044 & 0.674 & 24.12 & 0.857 \\" in capsys.readouterr().out
    for chosen, titles in {"1": ["Refocus", "Add bokeh"], "1-bokeh": ["Add bokeh"]}.items():
        run_diffcam(["benchmark", "table", str(output), "--paper", chosen])
        assert re.findall(r"^(.*) \(paper, table 1\)$", capsys.readouterr().out, re.MULTILINE) == titles


def test_help_names_the_shipped_config(capsys) -> None:
    with pytest.raises(SystemExit):
        run_diffcam(["benchmark", "run", "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert "configs/benchmark.yaml" in shown
    assert "Path(" not in shown


def test_a_second_run_makes_nothing(config, tmp_path, capsys) -> None:
    arguments = ["benchmark", "run", "--config", str(config), "--output", str(tmp_path), "--workers", "1"]
    chosen = ["--methods", "copy", "renderer"]
    run_diffcam([*arguments, *chosen])
    assert "renderer: 20 of 20 samples made and scored now" in capsys.readouterr().err
    run_diffcam([*arguments, *chosen])
    assert "renderer: 0 of 20 samples made and scored now" in capsys.readouterr().err


def test_a_damaged_scene_is_named_under_the_table(config, shard, tmp_path, capsys) -> None:
    content = bytearray(shard.read_bytes())
    at = content.index(b"000001.image.png") + 1024
    content[at : at + 4000] = bytes(4000)
    (tmp_path / "small-000000.tar").write_bytes(content)
    shards = ["--shards", str(tmp_path / "small-000000.tar"), "--workers", "1"]
    run_diffcam(["benchmark", "run", "--config", str(config), *shards, "--output", str(tmp_path / "out")])
    printed = capsys.readouterr().out
    assert re.search(r"copy: 10 samples are missing; the first, 10: .*000001\.image\.png", printed)
    assert ["all", "renderer", "10"] in [line.split()[:3] for line in printed.splitlines()], "the others are scored"
    assert (tmp_path / "out" / "grids" / "levels.png").is_file()


@pytest.mark.slow
def test_two_processes_print_the_table_of_one(config, tmp_path) -> None:
    """A method that fits and iterates, a model, and what needs neither; the same bytes, intervals included."""
    content = yaml.safe_load(config.read_text())
    model = {"class_path": "diffcam.benchmark.Refocuser", "init_args": {"steps": 1}}
    content["methods"] |= {"deconvolution": {"class_path": "diffcam.benchmark.LayeredDeconvolution"}, "tiny": model}
    config.write_text(yaml.safe_dump(content))
    tables = []
    for workers in ("1", "2"):
        output = tmp_path / workers
        command = ["benchmark", "run", "--config", str(config), "--output", str(output), "--workers", workers]
        finished = subprocess.run(
            [sys.executable, "-c", "from diffcam.commands.cli import main; main()", *command],
            env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=900, check=False,
        )  # fmt: skip
        assert finished.returncode == 0, finished.stderr[-3000:]
        tables.append(finished.stdout.split("written:")[0])
        assert len(read_rows(output / "tiny" / "samples.csv")) == 20
    assert tables[0] == tables[1]
    for name in ("table.md", "table.tex", "tiny/samples.csv", "deconvolution/samples.csv", "grids/levels.png"):
        assert (tmp_path / "1" / name).read_bytes() == (tmp_path / "2" / name).read_bytes(), name


def test_depth_of_table_six(config, tmp_path) -> None:
    arguments = ["benchmark", "run", "--config", str(config), "--methods", "renderer", "--workers", "1"]
    for depth in ("exact", "zero", "noisy"):
        run_diffcam([*arguments, "--depth", depth, "--output", str(tmp_path / depth)])
    errors = {
        depth: sum(row.scores["mae"] for row in read_rows(tmp_path / depth / "renderer" / "samples.csv"))
        for depth in ("exact", "zero", "noisy")
    }
    assert errors["exact"] < errors["zero"]
    assert errors["exact"] < errors["noisy"]
    with pytest.raises(DiffcamError, match="results with another edition"):
        run_diffcam([*arguments, "--output", str(tmp_path / "zero")])


def test_runs_of_an_ablation_stand_in_one_table(config, tmp_path, capsys) -> None:
    output = ["--output", str(tmp_path / "runs")]
    arguments = ["benchmark", "run", "--config", str(config), "--methods", "renderer", "--workers", "1", *output]
    run_diffcam([*arguments, "--name", "full"])
    run_diffcam([*arguments, "--name", "zero-depth", "--depth", "zero"])
    # a log folder of `lightning test` is a run too
    log = tmp_path / "runs" / "noisy-depth"
    log.mkdir()
    rows = (tmp_path / "runs" / "full" / "samples.csv").read_text()
    controls = rows.replace("full,", "copy,").split("\n", 1)[1]
    (log / "samples.csv").write_text(rows.replace("full,", "model,") + controls)
    capsys.readouterr()
    run_diffcam(["benchmark", "table", str(tmp_path / "runs"), "--paper", "6", "--no-intervals"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["0", "depth", "zero-depth"] in [line[:3] for line in lines]
    assert ["random", "noise", "noisy-depth"] in [line[:3] for line in lines]
    assert ["random", "masking", "(paper)"] in [line[:3] for line in lines]
    run_diffcam(["benchmark", "table", str(tmp_path / "runs"), "--config", str(config)])
    printed = capsys.readouterr().out
    assert "full: made the ground truth of add bokeh from the exact disparity, but for ray-traced scenes\n" in printed
    assert "scenes; given imperfect disparity: depth dropout, probability 1.0\n" in printed


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--methods", "copy", "nothing"], "--methods nothing: not in the config"),
        (["--depth", "foggy"], "--depth foggy: must be one of exact, zero"),
        (["--name", "full"], "--name full: names one run"),
        (["--workers", "0"], "--workers 0: must be at least 1"),
        (["--config", "absent.yaml"], "absent.yaml: no such file"),
    ],
)
def test_wrong_options_are_named(config, tmp_path, options, reason) -> None:
    with pytest.raises(DiffcamError, match=reason):
        run_diffcam(["benchmark", "run", "--config", str(config), "--output", str(tmp_path), *options])


@pytest.mark.parametrize(
    "line", ["resolution: many", "methods: {copy: {class_path: diffcam.benchmark.Nothing}}", "gama: 2"]
)
def test_wrong_config_lines_are_named(config, line) -> None:
    key = line.split(":")[0]
    config.write_text(yaml.safe_dump(yaml.safe_load(config.read_text()) | yaml.safe_load(line)))
    with pytest.raises(DiffcamError, match=key):
        read_setup(config)


def test_no_results_yet(tmp_path) -> None:
    with pytest.raises(DiffcamError, match="holds no benchmark results"):
        run_diffcam(["benchmark", "table", str(tmp_path)])


def test_the_shipped_config() -> None:
    setup = read_setup(DEFAULT_SETUP)
    assert {"ground-truth", "copy", "renderer", "deconvolution", "two-stage", "diffcam-tiny"} <= set(setup.methods)
    edition = setup.edition(None, None, "exact")
    assert {name for scene in edition.scenes() for name in scene.subtasks} == {"refocus", "add_bokeh", "remove_bokeh"}
    gammas = {setup.renderer.gamma, setup.metrics[-1].gamma, setup.methods["renderer"].renderer.gamma}
    assert len(gammas) == 1, "targets, metric and baselines share their light"
