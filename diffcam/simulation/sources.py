"""Where scenes come from. A source is a small recipe that can be sent to a worker; it opens files there.

Every source is a pure function from a number to a scene without variants, so that any worker can make any scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from diffcam.data.schema import Scene
from diffcam.errors import DiffcamError
from diffcam.files import fingerprint
from diffcam.photo import open_photo
from diffcam.simulation.draws import Draws
from diffcam.simulation.layered.scenes import LayeredScenes
from diffcam.simulation.photographed.development import Development
from diffcam.simulation.textures.photos import MIN_SHORT_SIDE, PhotoTextures, Textures


class Source(Protocol):
    """A numbered collection of scenes."""

    def __len__(self) -> int:
        """How many scenes there are, counting those that turn out damaged or unsuitable."""

    def scene(self, index: int) -> Scene:
        """Scene ``index``; its key is ``index`` in six digits.

        Raises:
            DiffcamError: If it cannot be made: a damaged file, or a photo that is not in focus everywhere.
        """

    def describe(self) -> dict[str, Any]:
        """What the scenes depend on, for the manifest; equal descriptions mean equal scenes."""


@dataclass(frozen=True)
class PhotoSource:
    """Photos with their disparity.

    Args:
        root: Folder that names are relative to.
        paths: The photos.
        development: What makes a photo a scene.
    """

    root: Path
    paths: tuple[Path, ...]
    development: Development

    def __len__(self) -> int:
        return len(self.paths)

    def scene(self, index: int) -> Scene:
        """The photo, if it is in focus everywhere, and its disparity."""
        path = self.paths[index]
        name = path.relative_to(self.root).as_posix()
        return self.development.scene(index, path, open_photo(path, name).tensor(), {"photo": name})

    def describe(self) -> dict[str, Any]:
        """Names and sizes of the photos, and the settings."""
        return {"type": "photos", "photos": fingerprint(self.root, self.paths), **self.development.describe()}


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


def check_photos(paths: Sequence[Path]) -> tuple[tuple[Path, ...], tuple[str, ...]]:
    """Open each photo once: those that can serve as textures, and one line for each that cannot."""
    whole, damaged = [], []
    for path in paths:
        try:
            size = open_photo(path, str(path)).size
        except DiffcamError as error:
            damaged.append(str(error))
            continue
        if min(size) < MIN_SHORT_SIDE:
            damaged.append(f"{path}: {size[0]}x{size[1]} pixels are too few; at least {MIN_SHORT_SIDE} are needed")
        else:
            whole.append(path)
    return tuple(whole), tuple(damaged)
