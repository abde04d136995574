"""Checkpoints that do not fit a sharded model; that those which do are loaded is tested in test_flux.py."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from diffcam.errors import DiffcamError
from diffcam.models.adapters import trained_parameters
from diffcam.models.checkpoint import load_model
from diffcam.tasks import RefocusTask, ShardedStrategy


@pytest.mark.parametrize(("added", "complaint"), [("foreign", "holds the foreign foreign"), (None, "lacks model")])
def test_other_weights_are_refused_before_any_is_loaded(
    tmp_path: Path, model_folder: Path, added: str | None, complaint: str
) -> None:
    task = RefocusTask(load_model(model_folder)[0])
    state = dict(trained_parameters(task))
    if added is None:
        state.popitem()
    else:
        state[added] = torch.zeros(1)
    torch.save({"state_dict": state}, tmp_path / "other.ckpt")
    strategy = ShardedStrategy(devices=2)
    strategy.connect(task)
    with pytest.raises(DiffcamError, match=complaint):
        strategy.load_checkpoint(tmp_path / "other.ckpt")
