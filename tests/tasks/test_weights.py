"""Starting weights that fit the task in shape and are still not meant for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from diffcam.errors import DiffcamError
from diffcam.models import LoRA, RefocusModel, RefocusTransformer, load_flux_codec, load_flux_transformer
from diffcam.models.checkpoint import save_adapter
from diffcam.tasks import RefocusTask
from tests.flux import write_flux_folder


def _task(folder: Path, weights: str | None = None) -> RefocusTask:
    base = load_flux_transformer(str(folder), "float32")
    model = RefocusModel(load_flux_codec(str(folder), "float32"), RefocusTransformer(base))
    return RefocusTask(model, LoRA(4), weights=weights)


def test_an_adapter_of_another_base_is_no_start(tmp_path: Path) -> None:
    base, other = write_flux_folder(tmp_path / "base"), write_flux_folder(tmp_path / "other", seed=2)
    adapter = tmp_path / "adapter"
    save_adapter(_task(base).model, adapter, base="base")
    _task(base, str(adapter))
    with pytest.raises(DiffcamError, match="adapter: was trained on base; the weights of this base are others"):
        _task(other, str(adapter))
