"""Surfaces of made scenes that are cut out of photos."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from PIL import Image
from scipy import ndimage

from diffcam.errors import DiffcamError
from diffcam.files import fingerprint
from diffcam.photo import Photo, open_photo
from diffcam.simulation.draws import Draws
from diffcam.simulation.photographed.all_in_focus import DEFAULT_THRESHOLD, measure_sharpness

PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp")
"""Endings of files that are taken for photos; Pillow reads all of them."""

MIN_SHORT_SIDE = 64
"""Pixels that a photo needs to serve as a texture."""

BACKDROP_CONTRAST = 0.012
"""A backdrop may hold soft sky and clouds: only tiles with this much contrast count, as sharp and as textured."""

BACKDROP_TEXTURE = 0.4
"""Share of a backdrop's tiles that must have this contrast: in less, a blur would not show."""

CELL = 8
"""Sharpness is summed over cells of this many pixels, so that any crop's sharpness is four look-ups."""


class Textures(Protocol):
    """A source of surfaces, as uint8 (height, width, 3), that can be sent to a worker and told apart in a manifest."""

    def backdrop(self, draws: Draws, height: int, width: int) -> np.ndarray:
        """A whole view that can stand behind everything."""

    def surface(self, draws: Draws, height: int, width: int) -> np.ndarray:
        """A sharp piece of material to fill an object with."""

    def describe(self) -> dict[str, Any]:
        """What the surfaces depend on."""


@dataclass(frozen=True)
class _Photo:
    """A decoded photo, running sums of its local sharpness, and the least of it, 0 where most is without texture."""

    image: Image.Image
    sums: np.ndarray
    focus: float

    @classmethod
    def of(cls, image: Image.Image) -> _Photo:
        gray = np.asarray(image.convert("L"), dtype=np.float32)
        edges = np.pad(np.abs(ndimage.laplace(gray))[1:-1, 1:-1], 1)
        rows, columns = gray.shape[0] // CELL, gray.shape[1] // CELL
        cells = edges[: rows * CELL, : columns * CELL].reshape(rows, CELL, columns, CELL).mean((1, 3))
        sharpness = measure_sharpness(Photo.from_image(image).tensor(), contrast=BACKDROP_CONTRAST)
        focus = sharpness.score if sharpness.textured >= BACKDROP_TEXTURE else 0.0
        return cls(image, np.pad(cells.cumsum(0).cumsum(1), ((1, 0), (1, 0))), focus)

    def largest_scale(self, height: int, width: int) -> float:
        """Photo pixels a pixel of the largest crop of this shape."""
        return min(self.image.width / width, self.image.height / height)

    def draw_box(self, draws: Draws, height: int, width: int, scale: float) -> tuple[int, int, int, int]:
        """A place for a crop: left, top, width and height."""
        box_width = max(1, min(self.image.width, round(width * scale)))
        box_height = max(1, min(self.image.height, round(height * scale)))
        left, top = draws.integer(0, self.image.width - box_width), draws.integer(0, self.image.height - box_height)
        return left, top, box_width, box_height

    def cut(self, draws: Draws, place: tuple[int, int, int, int], height: int, width: int) -> np.ndarray:
        """The crop at a place, brought to a size, every other one mirrored."""
        left, top, box_width, box_height = place
        box = (left, top, left + box_width, top + box_height)
        if (box_width, box_height) == (2 * width, 2 * height):
            cut = self.image.reduce(2, box)
        elif (box_width, box_height) == (width, height):
            cut = self.image.crop(box)
        else:
            cut = self.image.resize((width, height), Image.Resampling.HAMMING, box=box)
        return np.asarray(cut)[:, ::-1] if draws.chance(0.5) else np.asarray(cut)

    def sharpness(self, left: int, top: int, width: int, height: int) -> float:
        """Mean absolute Laplacian of the cells inside a crop."""
        y0, x0 = top // CELL, left // CELL
        y1, x1 = max(y0 + 1, (top + height) // CELL), max(x0 + 1, (left + width) // CELL)
        y1, x1 = min(y1, self.sums.shape[0] - 1), min(x1, self.sums.shape[1] - 1)
        y0, x0 = min(y0, y1 - 1), min(x0, x1 - 1)
        total = self.sums[y1, x1] - self.sums[y0, x1] - self.sums[y1, x0] + self.sums[y0, x0]
        return float(total / ((y1 - y0) * (x1 - x0)))


@dataclass(frozen=True)
class PhotoFolder:
    """Crops of photos, taken where the photos are sharp; these are opened where they are first needed, and stay.

    Args:
        root: Folder that names are relative to.
        paths: The photos, at least 64 pixels on the short side.
        short_side: Photos are shrunk to this short side in pixels.
        candidates: How many photos are drawn for a backdrop, and crops for a surface; the sharp ones are used.

    Raises:
        ValueError: If there are no photos, or, once they are opened, one is too small.

    Examples:
        >>> from skimage.data import coffee
        >>> Image.fromarray(coffee()).save("coffee.png")
        >>> textures = PhotoFolder(Path(), (Path("coffee.png"),), short_side=200)
        >>> textures.surface(Draws("example", 0), 64, 96).shape, textures.photos[0].image.size
        ((64, 96, 3), (300, 200))
    """

    root: Path
    paths: tuple[Path, ...]
    short_side: int
    candidates: int = 4

    def __post_init__(self) -> None:
        if not self.paths:
            raise ValueError("layered scenes need at least one photo")

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # without the opened photos

    @cached_property
    def photos(self) -> list[_Photo]:
        """The opened photos."""
        images = [load_reduced(path, self.short_side) for path in self.paths]
        if any(min(image.size) < MIN_SHORT_SIDE for image in images):
            raise ValueError(f"layered scenes need photos of at least {MIN_SHORT_SIDE} pixels on the short side")
        return [_Photo.of(image) for image in images]

    def describe(self) -> dict[str, Any]:
        """Names and sizes of the photos."""
        return {"textures": "photos", "photos": fingerprint(self.root, self.paths), "short_side": self.short_side}

    def backdrop(self, draws: Draws, height: int, width: int) -> np.ndarray:
        """A view as large as its photo allows; the first of the candidate photos that is in focus all over."""
        photos = [draws.choice(self.photos) for _ in range(self.candidates)]
        sharp = [photo for photo in photos if photo.focus >= DEFAULT_THRESHOLD]
        photo = sharp[0] if sharp else max(photos, key=lambda photo: photo.focus)
        scale = draws.uniform(0.75, 1.0) * photo.largest_scale(height, width)
        return photo.cut(draws, photo.draw_box(draws, height, width, scale), height, width)

    def surface(self, draws: Draws, height: int, width: int) -> np.ndarray:
        """The sharpest of a few crops of a photo, taken pixel by pixel or, at most, shrunk two to one."""
        photo = draws.choice(self.photos)
        largest = photo.largest_scale(height, width)
        scale = min(draws.choice((1.0, 2.0)), largest if largest < 1 else float(int(largest)))
        boxes = [photo.draw_box(draws, height, width, scale) for _ in range(self.candidates)]
        return photo.cut(draws, max(boxes, key=lambda box: photo.sharpness(*box)), height, width)


def list_photos(folder: str | Path) -> list[Path]:
    """Photos below a folder, sorted by their path relative to it.

    Raises:
        DiffcamError: If the folder does not exist or holds no photo.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DiffcamError(f"{folder}: no such folder of photos")
    found = [path for path in folder.rglob("*") if path.suffix.lower() in PHOTO_SUFFIXES and path.is_file()]
    if not found:
        raise DiffcamError(f"{folder}: holds no photo ({', '.join(PHOTO_SUFFIXES)})")
    return sorted(found, key=lambda path: path.relative_to(folder).as_posix())


def load_reduced(path: str | Path, short_side: int) -> Image.Image:
    """Open a photo as RGB and shrink it to a short side of at most ``short_side`` pixels; never enlarged."""
    return reduced(open_photo(path, str(path)).image, short_side)


def reduced(image: Image.Image, short_side: int) -> Image.Image:
    """Shrink an image to a short side of at most ``short_side`` pixels; never enlarged."""
    scale = short_side / min(image.size)
    if scale >= 1:
        return image
    width, height = (max(1, round(side * scale)) for side in image.size)
    return image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)


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
