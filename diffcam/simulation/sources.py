"""Where scenes come from. A source is a small recipe that can be sent to a worker; it opens files there.

Every source is a pure function from a number to a scene without variants, so that any worker can make any scene.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from diffcam.data.schema import Scene
from diffcam.errors import DiffcamError
from diffcam.photo import open_photo
from diffcam.simulation.all_in_focus import DEFAULT_THRESHOLD, AllInFocus
from diffcam.simulation.disparity import DISPARITY_SUFFIXES, load_disparity, normalise_disparity, resize_disparity
from diffcam.simulation.draws import Draws
from diffcam.simulation.layered import LayeredScenes
from diffcam.simulation.textures import MIN_SHORT_SIDE, PhotoTextures, Textures


class Source(Protocol):
    """A numbered collection of scenes."""

    def __len__(self) -> int:
        """How many scenes there are, counting those that turn out damaged or unsuitable."""

    def name(self, index: int) -> str:
        """What scene ``index`` is made from, for messages."""

    def scene(self, index: int) -> Scene:
        """Scene ``index``; its key is ``index`` in six digits.

        Raises:
            DiffcamError: If it cannot be made: a damaged file, or a photo that is not in focus everywhere.
        """

    def describe(self) -> dict[str, Any]:
        """What the scenes depend on, for the manifest; equal descriptions mean equal scenes."""


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
        fill_holes: Fill pixels without a value, see :func:`diffcam.simulation.disparity.fill_holes`.
    """

    photos: Path
    folder: Path
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
class PhotoSource:
    """Photos with their disparity.

    Args:
        root: Folder that names are relative to.
        paths: The photos.
        disparity: Where disparity comes from: a folder of maps, or an estimator.
        short_side: Photos are shrunk to this short side in pixels, never enlarged.
        threshold: Least sharpness of every tile, see :class:`AllInFocus`; 0 takes every photo.
        source: ``Scene.source``: camera, phone or ai.
        kind: ``Scene.kind``: photo or ai.
    """

    root: Path
    paths: tuple[Path, ...]
    disparity: DisparityProvider
    short_side: int = 512
    threshold: float = DEFAULT_THRESHOLD
    source: str = "camera"
    kind: str = "photo"

    def __len__(self) -> int:
        return len(self.paths)

    def name(self, index: int) -> str:
        """Path of the photo."""
        return str(self.paths[index])

    def scene(self, index: int) -> Scene:
        """The photo, if it is in focus everywhere, and its disparity."""
        path = self.paths[index]
        image = open_photo(path).tensor()
        sharpness = AllInFocus().measure(image).score
        if sharpness < self.threshold:
            raise DiffcamError(
                f"{path}: not in focus everywhere (sharpness {sharpness:.3f}, wanted {self.threshold:g})"
            )
        disparity = self.disparity(path, image)
        scale = self.short_side / min(image.shape[1:])
        if scale < 1:
            size = (round(image.shape[1] * scale), round(image.shape[2] * scale))
            image = F.interpolate(image[None], size, mode="bilinear", antialias=True)[0].clamp(0, 1)
            disparity = resize_disparity(disparity, size)
        metadata = {"photo": path.relative_to(self.root).as_posix(), "sharpness": round(sharpness, 4)}
        return Scene(f"{index:06d}", image, normalise_disparity(disparity), self.source, self.kind, metadata=metadata)

    def describe(self) -> dict[str, Any]:
        """Names and sizes of the photos, and the settings."""
        return {
            "type": "photos",
            "photos": fingerprint(self.root, self.paths),
            "short_side": self.short_side,
            "threshold": self.threshold,
            "source": self.source,
            "kind": self.kind,
            **self.disparity.describe(),
        }


@dataclass(frozen=True)
class LayeredSource:
    """Layered scenes, as many as asked for.

    Args:
        textures: Where surfaces come from: :class:`PhotoFolder` or :class:`ProceduralTextures`.
        count: How many scenes.
        size: Height and width in pixels.
        seed: Names the sequence.
        kind: ``Scene.kind``.
    """

    textures: DescribedTextures
    count: int
    size: tuple[int, int] = (512, 512)
    seed: int = 0
    kind: str = "photo"

    def __len__(self) -> int:
        return self.count

    def name(self, index: int) -> str:
        """The scene's number: it is made from several photos."""
        return f"layered scene {index}"

    def scene(self, index: int) -> Scene:
        """Scene ``index``, see :class:`LayeredScenes`."""
        return LayeredScenes(self.textures, self.size, self.seed, kind=self.kind)[index]

    def describe(self) -> dict[str, Any]:
        """Textures and settings; not the count, so that a run can be continued to more scenes."""
        settings = {"type": "layered", "size": list(self.size), "seed": self.seed, "kind": self.kind}
        return settings | self.textures.describe()


class DescribedTextures(Textures, Protocol):
    """Textures that can be sent to a worker and told apart in a manifest."""

    def describe(self) -> dict[str, Any]:
        """What the surfaces depend on."""


@dataclass(frozen=True)
class PhotoFolder:
    """Photos as textures, opened where they are first needed.

    Args:
        root: Folder that names are relative to.
        paths: The photos.
        short_side: Photos are shrunk to this short side in pixels.
    """

    root: Path
    paths: tuple[Path, ...]
    short_side: int

    @cached_property
    def _opened(self) -> PhotoTextures:
        return PhotoTextures.from_paths(self.paths, self.short_side)

    def __getstate__(self) -> dict[str, Any]:
        return {"root": self.root, "paths": self.paths, "short_side": self.short_side}  # without the opened photos

    def backdrop(self, draws: Draws, height: int, width: int) -> np.ndarray:
        """See :class:`Textures`."""
        return self._opened.backdrop(draws, height, width)

    def surface(self, draws: Draws, height: int, width: int) -> np.ndarray:
        """See :class:`Textures`."""
        return self._opened.surface(draws, height, width)

    def describe(self) -> dict[str, Any]:
        """Names and sizes of the photos."""
        return {"textures": "photos", "photos": fingerprint(self.root, self.paths), "short_side": self.short_side}


def fingerprint(root: Path, paths: Iterable[Path]) -> dict[str, Any]:
    """Count of files and a hash of their relative names and sizes: tells one folder's content from another's."""
    entries = sorted((path.relative_to(root).as_posix(), path.stat().st_size) for path in paths)
    return {"count": len(entries), "sha256": hashlib.sha256(repr(entries).encode()).hexdigest()}


def check_photos(paths: Sequence[Path]) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Open each photo once: those that can serve as textures, and one line for each that cannot."""
    whole, damaged = [], []
    for path in paths:
        try:
            size = open_photo(path).size
        except DiffcamError as error:
            damaged.append(str(error))
            continue
        if min(size) < MIN_SHORT_SIDE:
            damaged.append(f"{path}: {size[0]}x{size[1]} pixels are too few; at least {MIN_SHORT_SIDE} are needed")
        else:
            whole.append(path)
    return tuple(whole), tuple(damaged)
