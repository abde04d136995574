"""The shipped edition: whole, small enough, and scoring as ground truth must."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from diffcam.benchmark.setup import read_setup
from diffcam.commands.benchmark import DEFAULT_SETUP
from diffcam.data import collate
from diffcam.metrics import MAE, LVCorr, Scores, estimate

ROOT = Path(__file__).parents[2]
SHARDS = ROOT / "data_shards"


def test_shards_are_those_of_the_manifests() -> None:
    recorded = {}
    for manifest in SHARDS.glob("open-benchmark-*.json"):
        recorded |= {shard["name"]: shard["sha256"] for shard in json.loads(manifest.read_text())["shards"]}
    found = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in SHARDS.glob("open-benchmark-*.tar")}
    assert found == recorded
    assert len(found) == 5


def test_it_ships_in_eight_megabytes() -> None:
    assert sum(path.stat().st_size for path in SHARDS.glob("open-benchmark-*.tar")) < 8e6


@pytest.mark.slow
def test_ground_truth_follows_the_levels(monkeypatch) -> None:
    """The paper's ground truth scores an LVCorr of 0.93; with levels exchanged nothing must be left of it."""
    monkeypatch.chdir(SHARDS.parent)
    edition = read_setup(DEFAULT_SETUP).edition(None, None, "exact")
    scores = Scores([MAE(), LVCorr()])
    for scene in edition.scenes():
        added = [n for n, subtask in zip(scene.numbers, scene.subtasks, strict=True) if subtask == "add_bokeh"]
        batch = collate([edition[number] for number in added])
        scores.update("ground truth", batch, batch.targets[:, 0])
    rows = scores.compute()
    assert len(rows) == 216
    assert 0.85 <= estimate(rows, LVCorr()).value <= 1
    assert estimate(rows, MAE()).value == 0
    generator = np.random.default_rng(0)
    shuffled = []
    for start in range(0, len(rows), 4):
        levels = generator.permutation([row.bokeh for row in rows[start : start + 4]])
        shuffled += [row._replace(bokeh=level) for row, level in zip(rows[start:], levels, strict=False)]
    assert abs(estimate(shuffled, LVCorr()).value) < 0.25


def test_no_training_photo_is_in_it() -> None:
    names = {}
    for script in ("collect_shards.py", "collect_open_benchmark.py"):
        scope: dict[str, object] = {"__name__": script}
        exec(compile((ROOT / "runs" / script).read_text(), script, "exec"), scope)
        names[script] = scope
    trained = {Path(name).stem for split in ("train", "val") for name in names["collect_shards.py"]["SPLITS"][split]}
    assert trained.isdisjoint(Path(name).stem for name in names["collect_open_benchmark.py"]["LAYERED"])
