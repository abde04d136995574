"""Models from what a person chooses; every channel count follows."""

from __future__ import annotations

from typing import Literal

from diffusers import FluxTransformer2DModel

from diffcam.functional.bokeh import DISPLAY_GAMMA
from diffcam.models.codec import PatchCodec
from diffcam.models.lens import LensRefocusModel
from diffcam.models.restoration import DefocusRemoval
from diffcam.models.transformer import RefocusTransformer

HEAD_CHANNELS = 32
"""Channels of an attention head; FLUX.1's heads have 128."""

ROTARY_AXES = (8, 12, 12)
"""Channels of a head that turn with stream, row and column; FLUX.1's are 16, 56 and 56 of 128."""

TEXT_CHANNELS = 8
"""Width of the text inputs, which FLUX's class must have and this model leaves at zero."""


def embedded_model(
    patch: int = 16,
    codec_gamma: float = 1.8,
    width: int = 224,
    layers: int = 2,
    single_layers: int = 3,
    attention: Literal["full", "cached"] = "cached",
    rotary_theta: float = 100.0,
    restoration: DefocusRemoval | None = None,
    gamma: float = DISPLAY_GAMMA,
    mode: str = "occlusion",
    trusts_maps: bool = False,
    shift: float = 1.0,
    short_side: int = 512,
) -> LensRefocusModel:
    """The embedded model, with random weights.

    Args:
        patch: Even side of a token in pixels.
        codec_gamma: Exponent from display values to latents, see :class:`PatchCodec`.
        width: Channels of the transformer, a multiple of 32.
        layers: Double blocks, in which the camera has weights of its own.
        single_layers: Single blocks, in which all tokens share their weights.
        attention: ``full`` or ``cached``, see :class:`RefocusTransformer`.
        rotary_theta: Base of the rotary frequencies; small pictures have few tokens, so that it is less than FLUX's.
        restoration: Undoes the photo's own blur; None: photos are taken to be sharp.
        gamma: Light of the lens is ``image ** gamma``; as in the renderer of the training pairs.
        mode: Of the lens's renderer, ``occlusion`` or ``classical``.
        trusts_maps: Whether only photos without a map are corrected, see :class:`LensRefocusModel`.
        shift: Resolution shift of the timesteps (1: none).
        short_side: Short side in pixels of the pictures that the model is given.

    Raises:
        ValueError: If the width is no multiple of 32.

    Examples:
        >>> model = embedded_model(width=64)
        >>> model.transformer.channels
        Channels(tokens=768, output=800, cues=56, defocus=56)
    """
    heads, rest = divmod(width, HEAD_CHANNELS)
    if rest or not heads:
        raise ValueError(f"width must be a multiple of {HEAD_CHANNELS}, the channels of a head, got {width}")
    codec = PatchCodec(patch, codec_gamma)
    channels = LensRefocusModel.channels(codec)
    base = FluxTransformer2DModel(
        in_channels=channels.tokens, out_channels=channels.output, num_layers=layers, num_single_layers=single_layers,
        attention_head_dim=HEAD_CHANNELS, num_attention_heads=heads, axes_dims_rope=ROTARY_AXES,
        joint_attention_dim=TEXT_CHANNELS, pooled_projection_dim=TEXT_CHANNELS,
    )  # fmt: skip
    transformer = RefocusTransformer(
        base, attention, rotary_theta=rotary_theta, cue_channels=channels.cues, defocus_channels=channels.defocus
    )  # fmt: skip
    return LensRefocusModel(codec, transformer, shift, short_side, restoration, gamma, mode, trusts_maps)
