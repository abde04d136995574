"""FLUX.1 from a folder or the hub: its transformer and its VAE, and neither of its text encoders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import AutoencoderKL, AutoencoderTiny, BitsAndBytesConfig, FluxTransformer2DModel, TorchAoConfig
from torch import nn

from diffcam.errors import DiffcamError, check_choice, first_line
from diffcam.models.codec import VAECodec
from diffcam.pretrained.hub import why_not

KEPT_WHOLE = ["x_embedder", "context_embedder", "time_text_embed", "norm_out", "proj_out"]
"""Layers outside the blocks: a hundredth of the weights, not quantised."""

FLUX_TRANSFORMER: dict[str, Any] = {
    "in_channels": 64, "num_layers": 19, "num_single_layers": 38, "attention_head_dim": 128, "num_attention_heads": 24,
    "joint_attention_dim": 4096, "pooled_projection_dim": 768, "guidance_embeds": True, "axes_dims_rope": (16, 56, 56),
}  # fmt: skip
"""Shape of FLUX.1-dev, which Kontext-dev and Krea-dev share; schnell has no guidance embedding."""

FLUX_VAE: dict[str, Any] = {
    "block_out_channels": (128, 256, 512, 512), "down_block_types": ("DownEncoderBlock2D",) * 4,
    "up_block_types": ("UpDecoderBlock2D",) * 4, "layers_per_block": 2, "latent_channels": 16, "sample_size": 1024,
    "scaling_factor": 0.3611, "shift_factor": 0.1159, "use_quant_conv": False, "use_post_quant_conv": False,
}  # fmt: skip
"""Shape of its VAE."""


def _eight_bit() -> TorchAoConfig:
    from torchao.quantization import Int8WeightOnlyConfig

    return TorchAoConfig(Int8WeightOnlyConfig(), modules_to_not_convert=KEPT_WHOLE)


def _four_bit() -> BitsAndBytesConfig:
    import bitsandbytes  # noqa: F401  so that it is missed here and not half-way

    return BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=torch.bfloat16,
        llm_int8_skip_modules=KEPT_WHOLE,
    )  # fmt: skip


QUANTIZATIONS: dict[str, Callable[[], Any]] = {"8bit": _eight_bit, "4bit": _four_bit}


def load_flux_transformer(
    path: str,
    dtype: Literal["bfloat16", "float32"] = "bfloat16",
    quantization: Literal["8bit", "4bit"] | None = None,
) -> FluxTransformer2DModel:
    """The transformer of a FLUX.1 checkpoint (dev, schnell, Kontext-dev, Krea-dev), from a folder or the hub.

    Args:
        path: Folder in diffusers' format, or a hub name such as ``black-forest-labs/FLUX.1-dev``.
        dtype: Of the frozen weights, or of the computation where they are quantised.
        quantization: ``8bit`` holds the blocks' weights as integers (torchao), ``4bit`` as NF4 (bitsandbytes, which
            needs a GPU); None: as they are.

    Raises:
        DiffcamError: If it cannot be had or is incomplete; for gated models and missing packages it says what to do.

    Examples:
        >>> base = FluxTransformer2DModel(num_layers=1, num_single_layers=1, num_attention_heads=1)
        >>> base.save_pretrained("flux/transformer")
        >>> load_flux_transformer("flux").dtype
        torch.bfloat16
    """
    options: dict[str, Any] = {}
    if quantization is not None:
        check_choice("quantization", quantization, QUANTIZATIONS)
        try:
            options["quantization_config"] = QUANTIZATIONS[quantization]()
        except ImportError as error:
            raise DiffcamError(
                f"quantization {quantization} needs the package {error.name}: pip install 'diffcam[quantization]'"
            ) from error
    return _from_pretrained(FluxTransformer2DModel, path, "transformer", dtype, **options)  # type: ignore[no-any-return]


def load_flux_codec(path: str, dtype: Literal["bfloat16", "float32"] = "bfloat16") -> VAECodec:
    """The VAE of a FLUX.1 checkpoint as a codec; errors as :func:`load_flux_transformer`.

    Args:
        path: Folder in diffusers' layout, or a name on the hub.
        dtype: Of its weights.

    Examples:
        >>> AutoencoderKL(latent_channels=16).save_pretrained("flux/vae")
        >>> load_flux_codec("flux").encode(torch.rand(1, 3, 16, 16)).shape
        torch.Size([1, 16, 16, 16])
    """
    return VAECodec(_from_pretrained(AutoencoderKL, path, "vae", dtype))


def load_preview_codec(path: str, dtype: Literal["bfloat16", "float32"] = "float32") -> VAECodec:
    """TAEF1, the tiny autoencoder of FLUX's latent space, for fast previews.

    Args:
        path: Folder, or ``madebyollin/taef1``.
        dtype: Of its weights.

    Examples:
        >>> AutoencoderTiny(latent_channels=16).save_pretrained("preview")
        >>> load_preview_codec("preview").encode(torch.rand(1, 3, 16, 16)).shape
        torch.Size([1, 16, 2, 2])
    """
    return VAECodec(_from_pretrained(AutoencoderTiny, path, None, dtype))


def flux_transformer_shape(
    path: str, dtype: Literal["bfloat16", "float32"] = "bfloat16", quantization: str | None = None
) -> FluxTransformer2DModel:
    """What :func:`load_flux_transformer` would load, without its weights: on the meta device.

    The shape is read from a folder; a name on the hub is taken for FLUX.1's.
    """
    with torch.device("meta"):
        base = FluxTransformer2DModel.from_config(_config(path, "transformer", FLUX_TRANSFORMER))
    return nn.Module.to(base, getattr(torch, dtype))  # diffusers' own would warn of layers that FLUX has not


def flux_codec_shape(path: str, dtype: Literal["bfloat16", "float32"] = "bfloat16") -> VAECodec:
    """The same of :func:`load_flux_codec`."""
    with torch.device("meta"):
        vae = AutoencoderKL.from_config(_config(path, "vae", FLUX_VAE))
    return VAECodec(nn.Module.to(vae, getattr(torch, dtype)))


def _config(path: str, subfolder: str, known: dict[str, Any]) -> dict[str, Any]:
    if not Path(path).is_dir():
        return known if "schnell" not in path else {**known, "guidance_embeds": False}
    kind = FluxTransformer2DModel if subfolder == "transformer" else AutoencoderKL
    try:
        return kind.load_config(path, subfolder=subfolder)  # type: ignore[no-any-return]
    except OSError as error:
        raise DiffcamError(f"{path}: cannot read the shape of its {subfolder}: {first_line(error)}") from error


def _from_pretrained(kind: Any, path: str, subfolder: str | None, dtype: str, **options: Any) -> Any:
    check_choice("dtype", dtype, ("bfloat16", "float32"))
    options["subfolder"] = subfolder
    what = subfolder or "weights"
    try:
        model, found = kind.from_pretrained(
            path, torch_dtype=getattr(torch, dtype), use_safetensors=True, output_loading_info=True, **options
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise DiffcamError(f"{path}: cannot load {what}: {why_not(path, error)}") from error
    for fault, keys in (("lacks", found["missing_keys"]), ("holds the foreign", found["unexpected_keys"])):
        if keys:
            raise DiffcamError(f"{path}: the {what} {fault} {sorted(keys)[0]} ({len(keys)} such names)")
    return model
