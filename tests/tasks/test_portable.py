"""The packed state of a real run goes on with ``--ckpt_path``."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from diffcam.commands.cli import run_diffcam
from diffcam.errors import DiffcamError
from diffcam.tasks.portable import PART_BYTES, pack, unpack


def _losses(folder: Path) -> list[float]:
    path = next(folder.rglob("metrics.csv"))
    with open(path, encoding="utf-8") as file:
        return [float(row["train/loss"]) for row in csv.DictReader(file) if row["train/loss"]]


def test_weights_come_back_exactly_and_the_rest_to_three_digits(tmp_path: Path) -> None:
    moments = torch.randn(40, 30)
    checkpoint = {
        "state_dict": {"weight": torch.randn(40, 30)},
        "optimizer_states": [{"state": {0: {"step": torch.tensor(7.0), "momentum": moments}}, "param_groups": [7]}],
        "callbacks": {"EMA": {"step": 7, "average": {"weight": torch.randn(40, 30)}}},
        "global_step": 7,
    }
    torch.save(checkpoint, tmp_path / "last.ckpt")
    pack(tmp_path / "last.ckpt", tmp_path / "packed")
    unpack(tmp_path / "packed", tmp_path / "again.ckpt")
    again = torch.load(tmp_path / "again.ckpt", weights_only=True)
    assert torch.equal(again["state_dict"]["weight"], checkpoint["state_dict"]["weight"])
    state = again["optimizer_states"][0]["state"][0]
    assert state["step"] == 7
    assert state["momentum"].dtype == torch.float32
    torch.testing.assert_close(state["momentum"], moments, rtol=2**-8, atol=0)
    assert again["callbacks"]["EMA"]["step"] == again["global_step"] == 7
    assert again["optimizer_states"][0]["param_groups"] == [7]


def test_parts_are_small_and_all_needed(tmp_path: Path) -> None:
    torch.save({"state_dict": {"w": torch.randn(5_000_000)}, "optimizer_states": []}, tmp_path / "last.ckpt")
    parts = pack(tmp_path / "last.ckpt", tmp_path / "packed")
    assert len(parts) == 2
    assert all(part.stat().st_size <= PART_BYTES for part in parts)
    (tmp_path / "packed" / "state.json").write_text("mine")
    (tmp_path / "packed" / "state.007").write_text("of an earlier, larger state")
    assert pack(tmp_path / "last.ckpt", tmp_path / "packed") == parts
    assert {path.name for path in (tmp_path / "packed").iterdir()} == {"state.000", "state.001", "state.json"}
    parts[1].unlink()
    with pytest.raises(DiffcamError, match="damaged"):
        unpack(tmp_path / "packed", tmp_path / "again.ckpt")
    with pytest.raises(DiffcamError, match="no state there"):
        unpack(tmp_path / "nothing", tmp_path / "again.ckpt")


@pytest.mark.slow
def test_a_run_goes_on_from_its_packed_state(tmp_path: Path, fit: Callable[..., object]) -> None:
    def train(steps: int, name: str, *arguments: str) -> None:
        fit(f"--trainer.max_steps={steps}", f"--trainer.logger.init_args.name={name}", *arguments)

    train(6, "whole")
    train(3, "half")
    logs = tmp_path / "outputs"
    checkpoint = next((logs / "half").rglob("last.ckpt"))
    assert run_diffcam(["state", "pack", str(checkpoint), str(tmp_path / "packed")]) == 0
    assert run_diffcam(["state", "unpack", str(tmp_path / "packed"), str(tmp_path / "again.ckpt")]) == 0
    train(6, "second", "--ckpt_path", str(tmp_path / "again.ckpt"))
    whole, second = _losses(logs / "whole"), _losses(logs / "second")
    assert second == pytest.approx(whole[3:], rel=0.02)
