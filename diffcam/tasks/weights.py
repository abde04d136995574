"""Starting weights of a task: packaged models, exported folders and checkpoints of earlier runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors.torch import load_file
from torch import Tensor

from diffcam.errors import DiffcamError
from diffcam.models.adapters import trained_parameters
from diffcam.models.checkpoint import LORA_FILE, RefocusSettings, load_model, load_projectors, packaged

if TYPE_CHECKING:
    from diffcam.tasks.refocus import RefocusTask


def load_weights(task: RefocusTask, source: str) -> None:
    """Load weights into a task.

    Args:
        task: Whose model was already prepared for training.
        source: A packaged name, an exported folder (whole model or adapter) or a checkpoint file.

    Raises:
        DiffcamError: If there is nothing there, or it does not fit the task's model.
    """
    path = packaged(source) or Path(source)
    if path.is_file():
        state = read_checkpoint(path)
        check_trained_keys(task, state)
        task.load_state_dict(state, strict=False)
    elif (path / LORA_FILE).is_file():
        RefocusSettings.read(path).check_base(task.model.transformer.base, path)
        named = {}  # diffusers drops peft's adapter name from the keys when it saves
        for name, tensor in load_file(path / LORA_FILE).items():
            module = name.removeprefix("transformer.").removesuffix(".weight")
            named[f"model.transformer.base.{module}.default.weight"] = tensor
        projectors = {name: value for name, value in trained_parameters(task).items() if "_projector" in name}
        check_trained_keys(task, {**named, **projectors})
        task.load_state_dict(named, strict=False)
        load_projectors(task.model, path)
    elif path.is_dir():
        loaded, _ = load_model(path)
        try:
            task.model.transformer.load_state_dict(loaded.transformer.state_dict())
        except RuntimeError as error:
            raise DiffcamError(
                f"{path}: the model has another shape than the configured one; use its own config"
            ) from error
    else:
        raise DiffcamError(f"{source}: no such packaged model, exported folder or checkpoint")


def read_checkpoint(path: Path) -> Mapping[str, Tensor]:
    """The weights in a checkpoint, which stay in the file until they are used; a DiffcamError if it is not one."""
    try:
        state: Mapping[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True, mmap=True)["state_dict"]
        state.keys()
    except Exception as error:  # what is no checkpoint can make an unpickler raise anything
        raise DiffcamError(f"{path}: not a checkpoint of a diffcam run") from error
    return state


def check_trained_keys(task: RefocusTask, state: Mapping[str, Tensor]) -> None:
    """Raise a DiffcamError for weights whose names or shapes are not exactly the task's trained ones."""
    trained = trained_parameters(task)
    odd = sorted(set(trained) ^ set(state))
    if odd:
        missing = "lacks" if odd[0] in trained else "holds the foreign"
        raise DiffcamError(f"the checkpoint does not fit the model: it {missing} {odd[0]} ({len(odd)} such names)")
    for name, parameter in trained.items():
        if state[name].shape != parameter.shape:
            shapes = f"{tuple(state[name].shape)}, the model has {tuple(parameter.shape)}"
            raise DiffcamError(f"the checkpoint does not fit the model: {name} is {shapes}")
