"""What users give for a photo, for its depth and for what took it, in the forms that people have at hand."""

from __future__ import annotations

import os
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from diffcam.camera import Camera, ThinLens
from diffcam.errors import DiffcamError
from diffcam.functional.frame import same_frame
from diffcam.photo.exif import lens_from_exif
from diffcam.photo.pixels import LEVELS
from diffcam.photo.reading import Photo, open_photo, single_channel

PhotoInput = Photo | Image.Image | str | os.PathLike[str] | NDArray[Any] | Tensor
"""A photo, an image, a file's path, or display values: an array ``(H, W, 3)`` or a tensor ``(3, H, W)`` or
``(H, W, 3)``, of uint8 or of floats in [0, 1]; a fourth channel is transparency."""

DepthInput = None | Literal["none"] | NDArray[Any] | Tensor | Image.Image
"""A disparity map, used as given: 0 farthest, 1 (or an integer type's largest) nearest; ``none``; None: estimate."""

TakenWith = None | Literal["exif"] | Camera | ThinLens
"""What took a photo: a camera, as focus and level; a lens, or ``exif``, which tells one; None: found from the photo."""


def as_photo(photo: PhotoInput) -> Photo:
    """A photo from any of the forms of :data:`PhotoInput`.

    Raises:
        DiffcamError: If it is of another form, or cannot be read.
    """
    if isinstance(photo, Photo):
        return photo
    if isinstance(photo, Image.Image):
        return Photo.from_image(photo)
    if isinstance(photo, str | os.PathLike):
        return open_photo(photo)
    if isinstance(photo, Tensor):
        array = (photo.float() if photo.is_floating_point() else photo).detach().cpu().numpy()
        if array.ndim == 3 and array.shape[0] in (3, 4):
            array = array.transpose(1, 2, 0)
    elif isinstance(photo, np.ndarray):
        array = photo
    else:
        kind = type(photo).__name__
        raise DiffcamError(f"photo: cannot read a {kind}; give an image, a path, an array, a tensor or a list of them")
    if array.ndim != 3 or array.shape[-1] not in (3, 4) or array.size == 0:
        raise DiffcamError(f"photo: an array of shape {array.shape}; give (height, width, 3)")
    if np.issubdtype(array.dtype, np.floating) and np.isfinite(array).all() and 0 <= array.min() <= array.max() <= 1:
        array = np.rint(array * LEVELS).astype(np.uint8)
    if array.dtype != np.uint8:
        raise DiffcamError(f"photo: an array of {array.dtype}; give uint8, or floats in [0, 1]")
    return Photo.from_image(Image.fromarray(array))


def as_taken_with(taken_with: TakenWith, photo: Photo) -> Camera | ThinLens | None:
    """What took a photo; of ``exif`` the lens that it tells.

    Raises:
        DiffcamError: If it is another word, or EXIF does not tell the lens.
    """
    if not isinstance(taken_with, str):
        return taken_with
    if taken_with != "exif":
        raise DiffcamError(f"taken_with must be a camera, a lens, None or 'exif', got {taken_with!r}")
    return lens_from_exif(photo)


def as_disparity(depth: NDArray[Any] | Tensor | Image.Image, photo: Photo) -> Tensor:
    """A given map as ``(1, 1, H, W)`` in [0, 1].

    Raises:
        DiffcamError: If it is no single channel of finite numbers in range, or has another aspect than the photo.
    """
    array = depth.detach().cpu().numpy() if isinstance(depth, Tensor) else np.asarray(depth)
    if np.issubdtype(array.dtype, np.integer):
        bits = array.dtype if array.dtype.itemsize <= 2 else np.uint16  # Pillow holds 16-bit grey in 32-bit integers
        array = array / np.iinfo(bits).max
    array = array.astype(np.float32)
    while array.ndim > 2 and array.shape[0] == 1 and not isinstance(depth, Image.Image):
        array = array[0]
    array = single_channel(array)
    if array.ndim != 2 or array.size == 0:
        raise DiffcamError(f"the depth map must have a single channel, got an array of shape {array.shape}")
    if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
        raise DiffcamError("the depth map must hold finite disparities in [0, 1], 0 farthest and 1 nearest")
    width, height = photo.size
    if not same_frame((array.shape[0], array.shape[1]), (height, width)):
        sizes = f"the depth map is {array.shape[1]}x{array.shape[0]}, {photo.name} is {width}x{height}"
        raise DiffcamError(f"{sizes}: they must show the same frame")
    return torch.from_numpy(array)[None, None]
