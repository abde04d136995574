"""A run's whole state in a small folder, to be carried from one machine to another.

Trained weights stay float32; averages and the optimizer's moments are kept in bfloat16. The rest of the checkpoint
(step, schedules, loops) is kept as it is. Files are at most :data:`PART_BYTES` long.
"""

from __future__ import annotations

import io
import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffcam.errors import DiffcamError
from diffcam.files import unfinished

PART_BYTES = 15_000_000
"""Length of a part at most: below the 20 to 25 MB that mail and web forms take of a file, base64 (4/3) counted in."""

PARTS = "state.[0-9][0-9][0-9]"
"""Names of the parts, as a pattern."""

REDUCED = ("callbacks", "optimizer_states")
"""Entries of a checkpoint whose tensors are kept in bfloat16."""


def pack(checkpoint: Path, folder: Path) -> list[Path]:
    """Write a checkpoint's state as parts ``state.000``, ``state.001``, ...; earlier parts there are replaced.

    Raises:
        DiffcamError: If it is not a checkpoint of a run.
    """
    buffer = io.BytesIO()
    torch.save(_load(checkpoint, checkpoint, torch.float32, torch.bfloat16), buffer)
    folder.mkdir(parents=True, exist_ok=True)
    content = buffer.getbuffer()
    parts = []
    for number, start in enumerate(range(0, len(content), PART_BYTES)):
        parts.append(folder / f"state.{number:03d}")
        parts[-1].write_bytes(content[start : start + PART_BYTES])
    for old in set(folder.glob(PARTS)) - set(parts):
        old.unlink()
    return parts


def unpack(folder: Path, checkpoint: Path) -> None:
    """Make the checkpoint anew, for ``lightning fit --ckpt_path``.

    Raises:
        DiffcamError: If the parts are missing or incomplete.
    """
    parts = sorted(folder.glob(PARTS))
    if not parts:
        raise DiffcamError(f"{folder}: no state there; make one with 'diffcam state pack'")
    content = io.BytesIO(b"".join(part.read_bytes() for part in parts))
    state = _load(content, folder, torch.bfloat16, torch.float32)
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    with unfinished(checkpoint) as partial:
        torch.save(state, partial)


def _load(source: Path | io.BytesIO, where: Path, old: torch.dtype, new: torch.dtype) -> dict[str, Any]:
    """A checkpoint's state, with the entries of :data:`REDUCED` in a new data type in place of the old one."""
    try:
        state: dict[str, Any] = torch.load(source, map_location="cpu", weights_only=True)
        state["state_dict"], state["optimizer_states"]
    except (OSError, EOFError, KeyError, TypeError, RuntimeError, pickle.UnpicklingError) as error:
        raise DiffcamError(f"{where}: not the state of a diffcam run, or damaged") from error
    return {name: _cast(entry, old, new) if name in REDUCED else entry for name, entry in state.items()}


def _cast(entry: Any, old: torch.dtype, new: torch.dtype) -> Any:
    if isinstance(entry, Tensor):
        return entry.to(new) if entry.dtype == old and entry.ndim else entry  # a count stays exact
    if isinstance(entry, dict):
        return {name: _cast(value, old, new) for name, value in entry.items()}
    if isinstance(entry, list | tuple):
        return type(entry)(_cast(value, old, new) for value in entry)
    return entry
