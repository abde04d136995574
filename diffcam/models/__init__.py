"""Codecs, the refocusing transformer, its adapters and checkpoints."""

from diffcam.models.adapters import FullTraining, LoRA, Training
from diffcam.models.checkpoint import load_model, load_restoration
from diffcam.models.codec import Codec, PatchCodec, VAECodec, token_channels, token_pixels
from diffcam.models.deblurring import DeblurNet
from diffcam.models.defocus import DefocusNet
from diffcam.models.flux import load_flux_codec, load_flux_transformer, load_preview_codec
from diffcam.models.latents import LatentCache
from diffcam.models.lens import LensRefocusModel
from diffcam.models.recipes import embedded_model
from diffcam.models.refocus import RefocusModel
from diffcam.models.restoration import DefocusRemoval, load_deblurring, load_defocus
from diffcam.models.transformer import RefocusTransformer

__all__ = ["Codec", "DeblurNet", "DefocusNet", "DefocusRemoval", "FullTraining", "LatentCache", "LensRefocusModel"]
__all__ += ["LoRA", "PatchCodec", "RefocusModel", "RefocusTransformer", "Training", "VAECodec", "embedded_model"]
__all__ += ["load_deblurring", "load_defocus", "load_flux_codec", "load_flux_transformer", "load_model"]
__all__ += ["load_preview_codec", "load_restoration", "token_channels", "token_pixels"]
