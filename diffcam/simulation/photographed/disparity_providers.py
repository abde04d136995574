"""Where the disparity of photos comes from: maps in files, or an estimator."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from torch import Tensor

from diffcam.errors import DiffcamError
from diffcam.files import fingerprint
from diffcam.photo.disparity import DISPARITY_SUFFIXES, load_disparity

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
    """Disparity as a network estimates it.

    Args:
        estimator: The network.
    """

    estimator: DepthAnything

    def __call__(self, path: Path, image_3HW: Tensor) -> Tensor:
        """The estimate of a photo; its path does not matter."""
        return self.estimator(image_3HW[None])[0]

    def describe(self) -> dict[str, Any]:
        """Name of the network and the size that it sees."""
        return {"disparity": "estimated", "model": self.estimator.model, "short_side": self.estimator.short_side}
