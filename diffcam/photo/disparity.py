"""Reading disparity and depth maps: PNG, TIFF, PFM, OpenEXR and NumPy files."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.lib.format import open_memmap
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from diffcam.errors import DiffcamError, first_line
from diffcam.functional.frame import same_frame
from diffcam.photo import MAX_PIXELS, single_channel


def normalise_disparity(disparity: Tensor) -> Tensor:
    """Scale finite disparity maps ``(..., H, W)`` to [0, 1], float32, each by its own least and greatest value.

    A map of one value, which says nothing about depth, becomes zeros. The device must know float64.
    """
    disparity = disparity.double()
    low, high = disparity.amin((-2, -1), keepdim=True), disparity.amax((-2, -1), keepdim=True)
    return torch.where(high > low, (disparity - low) / (high - low), 0.0).float()


def fill_holes(values: np.ndarray) -> np.ndarray:
    """Give pixels of a map ``(H, W)`` that are NaN or infinite the smaller of the nearest values to left and right.

    In disparity measured by stereo, holes lie beside nearer objects, where one of the two cameras cannot see: what is
    hidden there belongs to the farther surface. Rows without any value take the row above, or else below; one
    value at least must be finite.
    """
    known = np.isfinite(values)
    columns = np.arange(values.shape[1])
    left = np.maximum.accumulate(np.where(known, columns, -1), axis=1)
    right = np.minimum.accumulate(np.where(known, columns, values.shape[1])[:, ::-1], axis=1)[:, ::-1]
    edged = np.pad(np.where(known, values, np.inf), ((0, 0), (1, 1)), constant_values=np.inf)
    filled = np.minimum(np.take_along_axis(edged, left + 1, 1), np.take_along_axis(edged, right + 1, 1))
    rows = np.flatnonzero(np.isfinite(filled).all(1))
    nearest = rows[np.clip(np.searchsorted(rows, np.arange(len(values)), side="right") - 1, 0, None)]
    return filled[nearest].astype(values.dtype)


def load_disparity(
    path: str | Path, size: tuple[int, int] | None = None, *, inverse: bool = False, fill: bool = False
) -> Tensor:
    """Read a disparity map (16- or 8-bit PNG or TIFF, PFM, EXR or NPY) and normalise it.

    Args:
        path: The file; its suffix says the format.
        size: Height and width to bring the map to, of its own aspect; None keeps its own. Nearest neighbour where it
            grows, so that no disparity appears that no surface has; area average where it shrinks.
        inverse: The map holds depth (large is far) and is inverted; depth must be positive.
        fill: Fill pixels without a value by :func:`fill_holes`; otherwise a map with such pixels is refused.

    Returns:
        ``(1, H, W)`` float32 in [0, 1], 0 farthest, 1 nearest.

    Raises:
        DiffcamError: If the file cannot be read, is no single-channel map, holds a number that is not
            finite, or has another aspect than asked for.
    """
    path = Path(path)
    disparity_1HW = torch.from_numpy(_finite(path, _read(path), inverse, fill))[None]
    if size is not None:
        height, width = disparity_1HW.shape[1:]
        if not same_frame((height, width), size):
            raise DiffcamError(
                f"{path}: a map of {width}x{height} for a photo that is scaled to {size[1]}x{size[0]}; they must show "
                "the same frame, the map turned as the photo is by its EXIF orientation"
            )
        disparity_1HW = resize_disparity(disparity_1HW, size)
    return normalise_disparity(disparity_1HW)


def read_disparity(path: str | Path, *, inverse: bool = False, fill: bool = False) -> np.ndarray:
    """Read a disparity map as :class:`diffcam.pipeline.RefocusPipeline` takes it: as given.

    Integers keep their type, whose largest value is 1, and floats in [0, 1] are left alone. Only what has no such
    scale, floats beyond it and depth that is inverted, is normalised.

    Args:
        path, inverse, fill: See :func:`load_disparity`.

    Returns:
        ``(H, W)``, integers or float32 in [0, 1].

    Raises:
        DiffcamError: If the file cannot be read, is no single-channel map, or holds a number that is not finite.
    """
    path = Path(path)
    values = _read(path)
    if values.dtype.kind in "iu" and not inverse and values.min() >= 0 and values.max() <= 65535:
        return np.array(values)
    values = _finite(path, values, inverse, fill)
    if inverse or values.min() < 0 or values.max() > 1:
        return normalise_disparity(torch.from_numpy(values)).numpy()
    return values


def resize_disparity(disparity_1HW: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a map: area average where it shrinks, nearest neighbour where it grows, so that edges stay sharp."""
    shrinks = size[0] <= disparity_1HW.shape[1] and size[1] <= disparity_1HW.shape[2]
    return F.interpolate(disparity_1HW[None], size, mode="area" if shrinks else "nearest-exact")[0]


def _read(path: Path) -> np.ndarray:
    """The map as stored, (H, W) of real numbers."""
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        raise DiffcamError(f"{path}: not a disparity map; use {', '.join(_READERS)}")
    try:
        values = reader(path)
    except DiffcamError:
        raise
    except Exception as error:  # a damaged file can make a decoder raise anything
        raise DiffcamError(f"{path}: cannot be read as a disparity map ({first_line(error)})") from error
    values = single_channel(values)
    if values.ndim != 2 or values.size == 0:
        raise DiffcamError(f"{path}: must hold one value a pixel, has the shape {values.shape}; save a grey map")
    if values.dtype.kind not in "fiu":
        raise DiffcamError(f"{path}: must hold real numbers, holds {values.dtype}; save it as float32")
    return values


def _finite(path: Path, values: np.ndarray, inverse: bool, fill: bool) -> np.ndarray:
    """The map as float32 disparity without holes, which are filled if asked and refused otherwise."""
    values = values.astype(np.float32)
    if inverse:
        if np.nanmin(values) <= 0:
            raise DiffcamError(f"{path}: depth must be positive to be inverted, the least is {np.nanmin(values):g}")
        values = 1 / values
    wrong = int((~np.isfinite(values)).sum())
    if wrong and not (fill and wrong < values.size):
        raise DiffcamError(
            f"{path}: {wrong} of {values.size} values are NaN or infinite; fill them (commands: --fill-holes)"
        )
    return fill_holes(values) if wrong else values


def _check_size(*sides: int) -> None:
    """Refuse sizes beyond ``MAX_PIXELS``, as a header claims them."""
    if min(sides) < 0 or math.prod(sides) > MAX_PIXELS:
        raise ValueError(f"{'x'.join(map(str, sides))} pixels are too many")


def _read_picture(path: Path) -> np.ndarray:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is checked next
        picture = Image.open(path, formats=("PNG", "TIFF"))
    with picture:
        _check_size(*picture.size)
        if picture.mode == "P":
            raise ValueError("a palette picture has no order of values")
        return np.array(picture)


def _read_numpy(path: Path) -> np.ndarray:
    with np.errstate(over="ignore"):  # of a header's sides; such an array is longer than its file
        values = open_memmap(path, mode="r")  # maps what is in the file, takes no memory for what is not
    while values.ndim > 2 and values.shape[0] == 1:
        values = values[0]
    _check_size(*values.shape[:2])
    return values


def _read_pfm(path: Path) -> np.ndarray:
    """Portable float map: rows from bottom to top; a negative scale means little-endian."""
    with open(path, "rb") as file:
        kind = file.readline().strip()
        if kind not in (b"Pf", b"PF"):
            raise ValueError("does not begin with Pf")
        width, height = (int(number) for number in file.readline().split())
        order = "<" if float(file.readline()) < 0 else ">"
        channels = 3 if kind == b"PF" else 1
        _check_size(width, height)
        data = file.read(4 * width * height * channels)
    if len(data) != 4 * width * height * channels:
        raise ValueError("the file ends before its last row")
    return np.frombuffer(data, dtype=f"{order}f4").reshape(height, width, channels)[::-1].copy()


def _read_exr(path: Path) -> np.ndarray:
    try:
        import OpenEXR
    except ImportError as error:
        raise DiffcamError(f"{path}: reading EXR needs the package openexr: pip install openexr") from error
    with OpenEXR.File(str(path), header_only=True) as file:
        for part in file.parts:
            first, last = part.header["dataWindow"]
            _check_size(*(int(side) + 1 for side in last.astype(np.int64) - first))
    with OpenEXR.File(str(path)) as file:
        channels = {name: channel.pixels for name, channel in file.channels().items()}
    if not channels:
        raise ValueError("no channel in it")
    return np.asarray(next(iter(channels.values()))) if len(channels) == 1 else np.stack(list(channels.values()), -1)


_READERS: dict[str, Callable[[Path], np.ndarray]] = {
    ".png": _read_picture,
    ".tif": _read_picture,
    ".tiff": _read_picture,
    ".pfm": _read_pfm,
    ".exr": _read_exr,
    ".npy": _read_numpy,
}

DISPARITY_SUFFIXES = tuple(_READERS)
"""Suffixes of the formats that can be read."""
