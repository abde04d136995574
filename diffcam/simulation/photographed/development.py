"""What makes a photograph a scene: it is in focus everywhere, it has a disparity map, and both have the wanted size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor
from torch.nn import functional as F

from diffcam.data.schema import Scene
from diffcam.errors import DiffcamError
from diffcam.simulation.photographed.all_in_focus import DEFAULT_THRESHOLD, measure_sharpness
from diffcam.simulation.photographed.disparity_providers import DisparityProvider


@dataclass(frozen=True)
class Development:
    """Settings that photos and generated pictures share.

    Args:
        disparity: Where disparity comes from: a folder of maps, or an estimator.
        short_side: Photos are shrunk to this short side in pixels, never enlarged.
        threshold: Least sharpness of every tile, see :func:`measure_sharpness`; 0 takes every photo.
        source: ``Scene.source``: camera, phone or ai.
        kind: ``Scene.kind``: photo or ai.
    """

    disparity: DisparityProvider
    _: KW_ONLY
    short_side: int = 512
    threshold: float = DEFAULT_THRESHOLD
    source: str = "camera"
    kind: str = "photo"

    def scene(self, index: int, path: Path, image_3HW: Tensor, *, metadata: Mapping[str, Any]) -> Scene:
        """Scene ``index`` of a photo.

        Args:
            index: Gives the key.
            path: Of the photo, or what stands for it in messages.
            image_3HW: Display values in [0, 1].
            metadata: To keep in the scene; the measured sharpness is added.

        Raises:
            DiffcamError: If the photo is not in focus everywhere or has no disparity.
        """
        sharpness = measure_sharpness(image_3HW).score
        if sharpness < self.threshold:
            raise DiffcamError(
                f"{path}: not in focus everywhere (sharpness {sharpness:.3f}, wanted {self.threshold:g})"
            )
        scale = self.short_side / min(image_3HW.shape[1:])
        if scale < 1:
            size = (round(image_3HW.shape[1] * scale), round(image_3HW.shape[2] * scale))
            image_3HW = F.interpolate(image_3HW[None], size, mode="bilinear", antialias=True)[0].clamp(0, 1)
        disparity_1HW = self.disparity(path, image_3HW)
        metadata = {**metadata, "sharpness": round(sharpness, 4)}
        return Scene(f"{index:06d}", image_3HW, disparity_1HW, self.source, self.kind, metadata=metadata)

    def describe(self) -> dict[str, Any]:
        """The settings, for the manifest."""
        settings = {name: getattr(self, name) for name in ("short_side", "threshold", "source", "kind")}
        return settings | self.disparity.describe()
