"""Codecs, the refocusing transformer, its adapters and checkpoints."""

from diffcam.models.adapters import FullTraining, LoRA, Training
from diffcam.models.checkpoint import load_model, load_restoration
from diffcam.models.codec import Codec, PatchCodec, VAECodec, token_channels, token_pixels
from diffcam.models.flux import load_flux_codec, load_flux_transformer, load_preview_codec
from diffcam.models.latents import LatentCache
from diffcam.models.parametrisation import LensOutput, Parametrisation, ResidualOutput, VelocityOutput
from diffcam.models.refocus import RefocusModel
from diffcam.models.restoration import DefocusRemoval
from diffcam.models.transformer import Conditions, RefocusTransformer

__all__ = [
    "Codec",
    "Conditions",
    "DefocusRemoval",
    "FullTraining",
    "LatentCache",
    "LensOutput",
    "LoRA",
    "Parametrisation",
    "PatchCodec",
    "RefocusModel",
    "RefocusTransformer",
    "ResidualOutput",
    "Training",
    "VAECodec",
    "VelocityOutput",
    "load_flux_codec",
    "load_flux_transformer",
    "load_model",
    "load_preview_codec",
    "load_restoration",
    "token_channels",
    "token_pixels",
]
