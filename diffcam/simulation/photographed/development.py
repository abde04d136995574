"""What makes a photograph a scene: it is in focus everywhere, it has a disparity map, and both have the wanted size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor
from torch.nn import functional as F

from diffcam.data.schema import Scene
from diffcam.errors import DiffcamError
from diffcam.files import fingerprint
from diffcam.photo.disparity import DISPARITY_SUFFIXES, load_disparity
from diffcam.simulation.photographed.all_in_focus import DEFAULT_THRESHOLD, measure_sharpness

if TYPE_CHECKING:  # importing the models takes seconds, which workers that need none would wait for
    from diffcam.pretrained.depth import DepthAnything


class DisparityProvider(Protocol):
    """Says how far the parts of a photo are."""

    def __call__(self, path: Path, image_3HW: Tensor) -> Tensor:
        """Disparity ``(1, H, W)`` in [0, 1] of a photo ``(3, H, W)``."""

    def describe(self) -> dict[str, Any]:
        """What the maps depend on, for the manifest."""


@dataclass(frozen=True)
class DisparityFolder:
    """Disparity maps from files that have the photos' names and any suffix that can be read.

    Args:
        photos: Folder that the photos' names are relative to.
        folder: Folder of maps, in the same sub-folders.
        inverse: The maps hold depth (large is far).
        fill_holes: Fill pixels without a value, see :func:`diffcam.photo.disparity.fill_holes`.
    """

    photos: Path
    folder: Path
    _: KW_ONLY
    inverse: bool = False
    fill_holes: bool = False

    def __call__(self, path: Path, image_3HW: Tensor) -> Tensor:
        """The map of a photo, brought to its size."""
        stem = self.folder / path.relative_to(self.photos).with_suffix("")
        found = [stem.with_name(stem.name + suffix) for suffix in DISPARITY_SUFFIXES]
        found = [candidate for candidate in found if candidate.is_file()]
        if not found:
            raise DiffcamError(f"{path}: no disparity map {stem}.* ({', '.join(DISPARITY_SUFFIXES)})")
        size = (image_3HW.shape[1], image_3HW.shape[2])
        return load_disparity(found[0], size, inverse=self.inverse, fill=self.fill_holes)

    def describe(self) -> dict[str, Any]:
        """Names and sizes of the maps."""
        maps = [path for path in self.folder.rglob("*") if path.suffix.lower() in DISPARITY_SUFFIXES]
        settings = {"disparity": "folder", "inverse": self.inverse, "fill_holes": self.fill_holes}
        return settings | {"maps": fingerprint(self.folder, maps)}


@dataclass(frozen=True)
class EstimatedDisparity:
    """Disparity as a network estimates it."""

    estimator: DepthAnything

    def __call__(self, path: Path, image_3HW: Tensor) -> Tensor:
        """The estimate of a photo; its path does not matter."""
        return self.estimator(image_3HW[None])[0]

    def describe(self) -> dict[str, Any]:
        """Name of the network and the size that it sees."""
        return {"disparity": "estimated", "model": self.estimator.model, "short_side": self.estimator.short_side}


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
            measured = f"sharpness {sharpness:.3f}, wanted {self.threshold:g}"
            raise DiffcamError(f"{path}: not in focus everywhere ({measured})")
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
