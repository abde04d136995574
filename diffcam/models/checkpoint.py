"""Folders of weights: whole embedded models and adapters, in diffusers' own formats.

A model folder holds ``transformer/``, ``codec/`` and, in models that undo a photo's own blur, ``restoration/`` (all
diffusers), and the refocusing part; an adapter folder holds ``pytorch_lora_weights.safetensors`` (diffusers) and the
refocusing part. The refocusing part is ``refocus.json`` (settings) and one file a projector, such as
``camera_projector.safetensors``. Nothing is ever unpickled.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from peft import get_peft_model_state_dict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from diffcam.errors import DiffcamError, first_line
from diffcam.functional.bokeh import DISPLAY_GAMMA
from diffcam.models.adapters import base_fingerprint
from diffcam.models.codec import PatchCodec, VAECodec
from diffcam.models.lens import LensRefocusModel
from diffcam.models.refocus import RefocusModel
from diffcam.models.restoration import NETWORK_FOLDERS, WEIGHTS_FILE, DefocusRemoval, read_restoration
from diffcam.models.sharding import gathered
from diffcam.models.transformer import RefocusTransformer

SETTINGS_FILE = "refocus.json"
RESTORATION_FOLDER = "restoration"
LORA_FILE = "pytorch_lora_weights.safetensors"
ADAPTER_FILES = (SETTINGS_FILE, LORA_FILE, "*_projector.safetensors")
"""Names, or patterns of names, of what an adapter's repository on the hub is asked for."""

DEFAULT_STEPS = 8
"""Sampling steps of weights that do not say for how many they were made."""


@dataclass(frozen=True)
class LensSettings:
    """What a :class:`LensRefocusModel` has besides, by its names; the defaults are those of older folders."""

    gamma: float
    mode: str = "classical"
    trusts_maps: bool = False


@dataclass(frozen=True, kw_only=True)
class RefocusSettings:
    """What a set of weights was trained with and cannot work without.

    Args:
        attention, condition_timestep, camera_at_focus, rotary_theta, guidance: See :class:`RefocusTransformer`.
        shift: Timestep shift.
        trained_size: Short side in pixels that photos are solved at.
        lens: Of a `LensRefocusModel`; None: a plain `RefocusModel`.
        steps: Sampling steps that the weights were made for.
        base: Where the frozen base of an adapter comes from; empty for whole models.
        fingerprint: Of that base, see :func:`base_fingerprint`; empty for whole models and adapters that lack it.
    """

    attention: Literal["full", "cached"]
    condition_timestep: Literal["zero", "shared"]
    camera_at_focus: bool
    rotary_theta: float
    guidance: float
    shift: float
    trained_size: int
    lens: LensSettings | None
    steps: int = DEFAULT_STEPS
    base: str = ""
    fingerprint: str = ""

    @classmethod
    def of(cls, model: RefocusModel, **others: Any) -> RefocusSettings:
        """The settings of a model, and others that it does not know: steps, base and fingerprint."""
        transformer, lens = model.transformer, None
        if isinstance(model, LensRefocusModel):
            lens = LensSettings(model.gamma, model.mode, model.trusts_maps)
        return cls(
            attention=transformer.attention,
            condition_timestep=transformer.condition_timestep,
            camera_at_focus=transformer.camera_at_focus,
            rotary_theta=transformer.rotary_theta,
            guidance=transformer.guidance,
            shift=model.shift,
            trained_size=model.short_side,
            lens=lens,
            **others,
        )

    @classmethod
    def read(cls, folder: Path) -> RefocusSettings:
        """Read ``refocus.json``.

        Raises:
            DiffcamError: If it is missing or does not hold these settings.
        """
        path = folder / SETTINGS_FILE
        try:
            found = json.loads(path.read_text())
            if "parametrisation" in found:  # version 0.1: the name of a class and a gamma in place of `lens`
                kind, gamma = found.pop("parametrisation"), found.pop("gamma", DISPLAY_GAMMA)
                if kind not in ("VelocityOutput", "LensOutput"):
                    raise ValueError(f"its output is a {kind}, which diffcam can no longer run: train it anew")
                found["lens"] = {"gamma": gamma} if kind == "LensOutput" else None
            lens = found.pop("lens")
            return cls(**found, lens=LensSettings(**lens) if lens is not None else None)
        except FileNotFoundError as error:
            raise DiffcamError(f"{folder}: not a diffcam model or adapter: it has no {SETTINGS_FILE}") from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DiffcamError(f"{path}: not the settings of a diffcam model ({error})") from error

    def check_base(self, base: FluxTransformer2DModel, adapter: Path) -> None:
        """Raise a DiffcamError for a base that the adapter with these settings was not trained on."""
        if self.fingerprint not in ("", base_fingerprint(base)):
            name = self.base or "a base that it does not name"
            raise DiffcamError(f"{adapter}: was trained on {name}; the weights of this base are others")

    def build(
        self, *, codec: PatchCodec | VAECodec, base: FluxTransformer2DModel, restoration: DefocusRemoval | None = None
    ) -> RefocusModel:
        """A model of these settings around a codec, a base and what undoes a photo's own blur."""
        kind = RefocusModel if self.lens is None else LensRefocusModel
        channels = kind.channels(codec)
        transformer = RefocusTransformer(
            base, self.attention, self.condition_timestep, self.camera_at_focus, self.rotary_theta, self.guidance,
            cue_channels=channels.cues, defocus_channels=channels.defocus,
        )  # fmt: skip
        if self.lens is None:
            return RefocusModel(codec, transformer, self.shift, self.trained_size)
        return LensRefocusModel(codec, transformer, self.shift, self.trained_size, restoration, **asdict(self.lens))


def load_restoration(path: str) -> DefocusRemoval:
    """What undoes a photo's own blur.

    Args:
        path: A packaged name (``diffcam-tiny``), a model folder, or a folder that a restoration was saved in.

    Raises:
        DiffcamError: If there is none, or it is damaged.

    Examples:
        >>> sum(weight.numel() for weight in load_restoration("diffcam-tiny").parameters())
        4024057
    """
    folder = packaged(path) or Path(path)
    try:
        return read_restoration(folder / RESTORATION_FOLDER if (folder / RESTORATION_FOLDER).is_dir() else folder)
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise DiffcamError(f"{path}: no restoration there ({first_line(error)})") from error


def packaged(name: str) -> Path | None:
    """Folder of a model that comes with the package, such as ``diffcam-tiny``; None if there is none of that name."""
    folder = Path(__file__).parents[1] / "weights" / name
    return folder if "/" not in name and (folder / SETTINGS_FILE).is_file() else None


def save_model(
    model: RefocusModel,
    folder: Path,
    *,
    steps: int = DEFAULT_STEPS,
    dtype: torch.dtype = torch.bfloat16,
    write: bool = True,
) -> None:
    """Write a whole embedded model.

    Args:
        model: With a patch codec.
        folder: Made where it is missing.
        steps: Sampling steps that it was made for.
        dtype: That weights are stored in.
        write: Whether this process writes; all processes of a sharded model must take part.

    Raises:
        ValueError: If the codec is another.
    """
    if not isinstance(model.codec, PatchCodec):
        raise ValueError("only models with a patch codec are saved whole; save the adapter of a FLUX model instead")
    base = model.transformer.base
    weights = _whole(base.state_dict(), dtype)
    projectors = _projectors(model, dtype)
    if not write:
        return
    base.save_config(folder / "transformer")
    _save_tensors(weights, folder / "transformer" / WEIGHTS_FILE)
    model.codec.save_config(folder / "codec")
    if isinstance(model, LensRefocusModel) and model.restoration is not None:
        for name in NETWORK_FOLDERS:
            network, where = getattr(model.restoration, name), folder / RESTORATION_FOLDER / name
            network.save_config(where)
            _save_tensors(_whole(network.state_dict(), torch.float16), where / WEIGHTS_FILE)
    _save_refocus_part(RefocusSettings.of(model, steps=steps), projectors, folder)


def save_adapter(
    model: RefocusModel, folder: Path, *, steps: int = DEFAULT_STEPS, base: str = "", write: bool = True
) -> None:
    """Write LoRA weights in diffusers' format, with their configuration as metadata, and the refocusing part.

    Arguments are those of :func:`save_model`; ``base`` is where the frozen base comes from.
    """
    weights = _whole(get_peft_model_state_dict(model.transformer.base), torch.float32)
    projectors = _projectors(model, torch.float32)
    fingerprint = base_fingerprint(model.transformer.base)
    if not write:
        return
    folder.mkdir(parents=True, exist_ok=True)
    config = model.transformer.base.peft_config["default"].to_dict()
    config = {key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}
    FluxPipeline.save_lora_weights(folder, transformer_lora_layers=weights, transformer_lora_adapter_metadata=config)
    _save_refocus_part(RefocusSettings.of(model, steps=steps, base=base, fingerprint=fingerprint), projectors, folder)


def load_model(folder: Path) -> tuple[RefocusModel, RefocusSettings]:
    """Read a whole embedded model, in float32 and evaluation mode.

    Raises:
        DiffcamError: If a part is missing or does not fit.

    Examples:
        >>> model, settings = load_model(packaged("diffcam-tiny"))
        >>> settings.trained_size, sum(weight.numel() for weight in model.transformer.parameters())
        (512, 6533760)
    """
    settings = RefocusSettings.read(folder)
    if (folder / LORA_FILE).is_file():
        raise DiffcamError(f"{folder}: is an adapter, which needs its base; give it as the adapter")
    try:
        codec = PatchCodec.from_config(PatchCodec.load_config(folder / "codec"))
        base = FluxTransformer2DModel.from_config(FluxTransformer2DModel.load_config(folder / "transformer"))
        base.load_state_dict(load_file(folder / "transformer" / WEIGHTS_FILE))
        path = folder / RESTORATION_FOLDER
        restoration = read_restoration(path) if path.is_dir() else None
        model = settings.build(codec=codec, base=base, restoration=restoration)
        load_projectors(model, folder)
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise DiffcamError(f"{folder}: the model is incomplete or damaged ({first_line(error)})") from error
    return model.eval().requires_grad_(False), settings


def load_adapter(model: RefocusModel, folder: Path) -> None:
    """Load LoRA weights and the camera projector of an adapter folder into a model with a fresh base.

    Raises:
        DiffcamError: If the adapter was made for another base.
    """
    path = folder / LORA_FILE
    if not path.is_file():
        raise DiffcamError(f"{folder}: no {LORA_FILE} there")
    base = model.transformer.base
    RefocusSettings.read(folder).check_base(base, folder)
    try:
        base.load_lora_adapter(folder, weight_name=LORA_FILE, prefix="transformer", adapter_name="default")
        load_projectors(model, folder)
    except (OSError, RuntimeError, ValueError, KeyError, SafetensorError) as error:
        raise DiffcamError(f"{folder}: the adapter does not fit this base ({first_line(error)})") from error
    expected = {name.removeprefix("transformer.") for name in load_file(path)}
    found = set(get_peft_model_state_dict(base))
    if expected != found:
        odd = sorted(expected ^ found)[0]
        raise DiffcamError(f"{folder}: the adapter does not fit this base: {len(expected ^ found)} keys such as {odd}")


def load_projectors(model: RefocusModel, folder: Path) -> None:
    """Load the projectors of a model or adapter folder."""
    for name, layer in model.transformer.projectors.items():
        layer.load_state_dict(load_file(folder / f"{name}.safetensors"))


def _projectors(model: RefocusModel, dtype: torch.dtype) -> dict[str, dict[str, torch.Tensor]]:
    return {name: _whole(layer.state_dict(), dtype) for name, layer in model.transformer.projectors.items()}


def _save_refocus_part(settings: RefocusSettings, projectors: dict[str, dict[str, torch.Tensor]], folder: Path) -> None:
    (folder / SETTINGS_FILE).write_text(json.dumps(asdict(settings), indent=2) + "\n")
    for name, weights in projectors.items():
        _save_tensors(weights, folder / f"{name}.safetensors")


def _whole(tensors: dict[str, torch.Tensor], dtype: torch.dtype) -> dict[str, torch.Tensor]:
    return {name: gathered(tensor.detach()).to("cpu", dtype).contiguous() for name, tensor in tensors.items()}


def _save_tensors(tensors: dict[str, torch.Tensor], path: Path) -> None:
    save_file(tensors, path, metadata={"format": "pt"})
