"""A model with its settings from wherever it is: the package, a folder, the hub, or a FLUX base and an adapter."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch

from diffcam.errors import DiffcamError, first_line
from diffcam.models.checkpoint import (
    ADAPTER_FILES,
    RESTORATION_FOLDER,
    SETTINGS_FILE,
    RefocusSettings,
    load_adapter,
    load_model,
    packaged,
)
from diffcam.models.codec import VAECodec
from diffcam.models.flux import load_flux_codec, load_flux_transformer
from diffcam.models.refocus import RefocusModel
from diffcam.pretrained.hub import local_folder

MODEL_FILES = (SETTINGS_FILE, "*_projector.safetensors", "transformer/*", "codec/*", f"{RESTORATION_FOLDER}/*")
"""Names, or patterns of names, of what a whole model's repository on the hub is asked for."""

Device = torch.device | str | int
"""A device, its name, the number of a GPU, or ``auto`` or ``balanced``: a GPU where there is one, else the CPU."""


def load_pretrained(
    source: str | Path | None,
    adapter: str | Path | None,
    *,
    dtype: torch.dtype | str | None = None,
    quantization: Literal["8bit", "4bit"] | None = None,
    codec: VAECodec | None = None,
) -> tuple[RefocusModel, RefocusSettings, str]:
    """A model, the settings of its weights, and its name; arguments and errors as `RefocusPipeline.from_pretrained`."""
    precision = usable_dtype(dtype or ("bfloat16" if adapter else "float32"), embedded=not adapter)
    if not adapter:
        if quantization is not None or codec is not None:
            raise DiffcamError("quantization and codec are chosen for a FLUX base; give its adapter too")
        source = str(source or "diffcam-tiny")
        return *load_model(_model_folder(source)), Path(source).name
    folder = local_folder(str(adapter), ADAPTER_FILES)
    settings = RefocusSettings.read(folder)
    source = str(source or settings.base)
    if not source:
        raise DiffcamError(f"{adapter}: does not say what base it was trained on; name one")
    base = load_flux_transformer(source, precision, quantization)
    model = settings.build(codec=codec or load_flux_codec(source, precision), base=base)
    for projector in model.transformer.projectors.values():
        projector.to(model.transformer.dtype)
    load_adapter(model, folder)
    return model.eval().requires_grad_(False), settings, f"{source} + {Path(adapter).name}"


def _model_folder(source: str) -> Path:
    """Folder of an embedded model that comes with the package, lies in a folder, or is on the hub."""
    folder, reason = packaged(source) or Path(source), ""
    if not folder.is_dir() and "/" in source:
        try:
            folder = local_folder(source, [SETTINGS_FILE])  # first alone: a FLUX base has none and is not downloaded
            folder = local_folder(source, MODEL_FILES) if (folder / SETTINGS_FILE).is_file() else folder
        except DiffcamError as error:
            reason = f" ({error})"
    if not (folder / SETTINGS_FILE).is_file():
        fault = "holds no diffcam model" if folder.is_dir() else "no such model"
        usual = "give 'diffcam-tiny', a model's folder or hub name, or a FLUX base and its adapter"
        raise DiffcamError(f"{source}: {fault}; {usual}{reason}")
    return folder


def usable_device(device: Device, option: str = "device") -> torch.device:
    """A device on which something can be made; otherwise a DiffcamError, which calls it ``option``."""
    if not isinstance(device, torch.device | str | int):
        raise DiffcamError(f"{option}: a {type(device).__name__} is no device; name one, such as 'cuda'")
    if device in ("auto", "balanced"):
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise DiffcamError(f"{option} {device}: cannot be used ({first_line(error)}); name another") from error
    return torch.device(device)


def usable_dtype(dtype: torch.dtype | str, embedded: bool) -> Literal["bfloat16", "float32"]:
    """Name of a data type that an embedded model, or else a FLUX base, runs in; a DiffcamError for any other."""
    if dtype in (torch.float32, "float32"):
        return "float32"
    if embedded:
        raise DiffcamError(f"dtype {dtype}: must be float32 for an embedded model, whose Fourier transforms need it")
    if dtype in (torch.bfloat16, "bfloat16"):
        return "bfloat16"
    raise DiffcamError(f"dtype {dtype}: must be bfloat16 or float32 for a FLUX base")
