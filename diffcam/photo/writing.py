"""Writing results with everything that came with the photo they were made from, and how they were made."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, PngImagePlugin
from torch import Tensor

from diffcam.errors import DiffcamError, first_line, refusal
from diffcam.files import unfinished
from diffcam.photo.pixels import to_picture
from diffcam.photo.reading import XMP_TAG, Photo

WRITABLE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")
"""Suffixes of the formats that can hold the record of how a picture was made."""

RECORD_TEXT = "diffcam"
"""Key of the PNG text chunk that holds the record."""

RECORD_TAG = 0x9213
"""EXIF tag that holds the record in every format: ImageHistory, what was done to the image since it was taken."""


def check_output(path: str | os.PathLike[str], like: Photo | None = None, force: bool = False) -> Path:
    """Check that a picture can be written here, before any work is done for it.

    Raises:
        DiffcamError: If the suffix is not one of `WRITABLE_SUFFIXES`, the format cannot keep the photo's transparency,
            the folder is missing, or the file exists and `force` is false.

    Examples:
        >>> Image.new("RGB", (6, 4)).save("photo.jpg")
        >>> check_output("photo.jpg")
        Traceback (most recent call last):
        diffcam.errors.DiffcamError: photo.jpg: exists already; choose another name, or allow overwriting with --force
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in WRITABLE_SUFFIXES:
        raise DiffcamError(f"{path}: cannot write this format; end the name in {', '.join(WRITABLE_SUFFIXES)}")
    if like is not None and like.alpha is not None and suffix in (".jpg", ".jpeg"):
        raise DiffcamError(f"{path}: JPEG cannot keep the transparency of {like.name}; write a .png, .webp or .tif")
    if not path.parent.is_dir():
        raise DiffcamError(f"{path}: there is no folder {path.parent}; make it first")
    if path.is_dir():
        raise DiffcamError(f"{path}: is a folder; name a file")
    if path.exists() and not force:
        raise DiffcamError(f"{path}: exists already; choose another name, or allow overwriting with --force")
    return path


def save_photo(
    image: Tensor | Image.Image,
    path: str | os.PathLike[str],
    like: Photo | None = None,
    metadata: Mapping[str, Any] | None = None,
    force: bool = False,
) -> Path:
    """Write a result with everything that came with the photo it was made from; the file appears whole or not at all.

    Args:
        image: ``(3, H, W)`` display values in [0, 1], or an RGB image.
        path: Where to write; the suffix sets the format.
        like: The photo whose transparency, greyness, EXIF, colour profile and XMP the result takes over.
        metadata: How the picture was made; written as JSON (dataclasses allowed) to the EXIF tag ImageHistory, in a PNG
            also to the text chunk ``diffcam``.
        force: Whether an existing file may be replaced.

    Returns:
        The path written.

    Raises:
        DiffcamError: As `check_output`, or if the disk refuses.

    Examples:
        >>> photo = Photo.from_image(Image.new("RGB", (6, 4)))
        >>> save_photo(torch.ones(3, 4, 6), "result.png", like=photo, metadata={"bokeh": 12}).name
        'result.png'
    """
    path = check_output(path, like, force)
    data = encode_photo(image, path.suffix, like, metadata)
    try:
        with unfinished(path) as partial:
            partial.write_bytes(data)
            check_output(path, like, force)  # another program may have written it meanwhile
    except OSError as error:
        raise DiffcamError(f"{path}: cannot be written ({refusal(error)}); choose another place") from error
    return path


def encode_photo(
    image: Tensor | Image.Image, suffix: str, like: Photo | None = None, metadata: Mapping[str, Any] | None = None
) -> bytes:
    """The file that `save_photo` writes, as bytes; arguments as there, `suffix` one of `WRITABLE_SUFFIXES`.

    Examples:
        >>> encode_photo(torch.ones(3, 4, 6), ".png")[1:4]
        b'PNG'
    """
    result = to_picture(image) if isinstance(image, Tensor) else image
    like = like or Photo(result)
    if like.grey:
        result = result.convert("L")
    if like.alpha is not None:
        result = result.copy()
        result.putalpha(like.alpha)
    record = json.dumps(dict(metadata), default=dataclasses.asdict) if metadata is not None else None
    exif = Image.Exif()
    if like.exif is not None:
        exif.load(like.exif)
    if record is not None:
        exif[RECORD_TAG] = record
    suffix = suffix.lower()
    options: dict[str, Any] = {"exif": exif}
    if suffix == ".png":
        chunks = PngImagePlugin.PngInfo()
        if record is not None:
            chunks.add_text(RECORD_TEXT, record)
        if like.xmp is not None:
            chunks.add_itxt("XML:com.adobe.xmp", like.xmp.decode("utf-8", "replace"))
        options |= {"format": "PNG", "pnginfo": chunks}
    elif suffix in (".tif", ".tiff"):  # uncompressed: Pillow's compressed TIFFs cannot hold EXIF
        if like.xmp is not None:
            exif[XMP_TAG] = like.xmp
        options |= {"format": "TIFF"}
    else:
        options |= {"format": "WEBP"} if suffix == ".webp" else {"format": "JPEG", "subsampling": "4:4:4"}
        options |= {"quality": 95} if like.xmp is None else {"quality": 95, "xmp": like.xmp}
    stream = BytesIO()
    try:
        result.save(stream, icc_profile=like.icc_profile, **options)
    except (OSError, ValueError) as error:  # such as a picture wider than the format can be
        raise DiffcamError(f"{like.name}: cannot be written as {suffix} ({first_line(error)}); write a .png") from error
    return stream.getvalue()
