"""What the network is told of photos and of cameras. B photos, K cameras for each; N tokens an image."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from diffcam.camera import CameraBatch
from diffcam.models.streams import Memory


@dataclass(frozen=True)
class PhotoTokens:
    """What the transformer needs of photos.

    Args:
        reference: ``(B, N, C)`` tokens of the photo.
        disparity: ``(B, N, C)`` tokens of the disparity map.
        grid: Rows and columns of the token grid; N is their product.
        memory: Keys and values of each block in cached attention, None in full attention.
        cues: ``(B, N, F)`` features that are added to the embedding of the reference, or None.
    """

    reference: Tensor
    disparity: Tensor
    grid: tuple[int, int]
    memory: tuple[Memory, ...] | None = None
    cues: Tensor | None = None

    def repeat(self, times: int) -> PhotoTokens:
        """Each photo K times in a row, without a memory: ``(B * K, ...)``."""
        reference, disparity = (tokens.repeat_interleave(times, 0) for tokens in (self.reference, self.disparity))
        cues = None if self.cues is None else self.cues.repeat_interleave(times, 0)
        return replace(self, reference=reference, disparity=disparity, memory=None, cues=cues)


@dataclass(frozen=True)
class PhotoConditions:
    """What photos are to a `RefocusModel`, the same for every camera and step.

    Args:
        tokens: For the transformer.
        latent: ``(B, C, h, w)`` latents of the photos.
        own_radius: ``(B, 1, H, W)`` blur radius in pixels that the photos themselves show, as told or found, signed
            where their depth is known; 0 is sharp, and what a model that does not find it takes them for.
    """

    tokens: PhotoTokens
    latent: Tensor
    own_radius: Tensor


@dataclass(frozen=True)
class LensPhotoConditions(PhotoConditions):
    """What photos are to a `LensRefocusModel`.

    Args:
        disparity: ``(B, 1, H, W)`` in [0, 1]; the zero map where depth is unknown.
        restored: ``(B, 3, H, W)`` the photos without their own blur, display values in [0, 1].
        basis: ``(B, 1 + bands, C, h, w)`` latents of the restored photos, then their blur bands.
    """

    disparity: Tensor
    restored: Tensor
    basis: Tensor


@dataclass(frozen=True)
class CameraConditions:
    """What cameras ask of photos, the same in every step.

    Args:
        cameras: ``(B * K,)``, K cameras a photo, photo-major.
        defocus_cues: ``(B * K, N, F)`` features that are added to the embedding of the noisy tokens, or None.
    """

    cameras: CameraBatch
    defocus_cues: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class LensCameraConditions(CameraConditions):
    """What cameras ask of a `LensRefocusModel`.

    Args:
        rendered: ``(B * K, C, h, w)`` latents of the restored photos as the renderer's lens takes them.
    """

    rendered: Tensor
