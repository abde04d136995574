"""Reading photos as people keep them: upright, in RGB, with what must come back when a result is saved."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile, ImageOps, TiffImagePlugin, UnidentifiedImageError
from torch import Tensor

from diffcam.errors import DiffcamError, first_line, refusal
from diffcam.photo.pixels import from_picture

MAX_PIXELS = 120_000_000
"""Most pixels of a photo; larger ones are refused before decoding, as a small file can claim gigabytes; chosen."""

READABLE_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "AVIF", "JPEG2000", "BMP", "GIF", "PPM")
"""Pillow's raster formats for photos; others are no photos or start programs (EPS runs Ghostscript)."""

XMP_TAG = 700
"""EXIF and TIFF tag of the XMP packet (XMP specification, part 3)."""

_ORIENTATION, _PLANAR_CONFIGURATION, _BITS_PER_SAMPLE = 274, 284, 258
"""TIFF tags (TIFF 6.0)."""

# In a TIFF, EXIF shares its directory with the tags that say where and how the pixels are stored; and thumbnails,
# colour profile and XMP have places of their own.
# fmt: off
_LAYOUT_TAGS = frozenset([
    *range(254, 260), 262, 263, 266, 273, *range(277, 282), _PLANAR_CONFIGURATION, 317, 320, *range(322, 326), 330, 332,
    *range(338, 342), 347, 512, 513, 514, *range(529, 533), XMP_TAG, 34377, 34675, _ORIENTATION,
])
# fmt: on


@dataclass(frozen=True, eq=False)
class Photo:
    """One photo as 8-bit RGB, and what is restored when a result is saved.

    Args:
        image: RGB, 8 bits, upright (any EXIF orientation is applied).
        name: What to call it in messages: its file name.
        alpha: Transparency, mode L, of the same size; None where the photo is opaque.
        grey: Whether the photo holds no colour.
        exif: EXIF block without orientation and thumbnail.
        icc_profile: Colour profile of `image`.
        xmp: XMP packet.
        notes: One sentence for each thing that could not be carried exactly.

    Examples:
        >>> photo = Photo.from_image(Image.new("L", (6, 4), 255))
        >>> photo.size, photo.grey, photo.tensor().shape
        ((6, 4), True, torch.Size([3, 4, 6]))
    """

    image: Image.Image
    name: str = "photo"
    alpha: Image.Image | None = None
    grey: bool = False
    exif: bytes | None = None
    icc_profile: bytes | None = None
    xmp: bytes | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def from_image(cls, image: Image.Image, name: str = "photo") -> Photo:
        """Take an image that is in memory; EXIF orientation is applied, as for a file.

        Raises:
            DiffcamError: If the image is too large, or its numbers cannot be read as colours.
        """
        if image.width * image.height > MAX_PIXELS:
            raise DiffcamError(_too_large(name))
        if isinstance(image, TiffImagePlugin.TiffImageFile):
            planar = image.tag_v2.get(_PLANAR_CONFIGURATION) == 2
            if planar and max(image.tag_v2.get(_BITS_PER_SAMPLE, (1,))) > 8:  # Pillow would read such planes as noise
                raise DiffcamError(
                    f"{name}: a TIFF with separate 16-bit planes; save it with interleaved colours first"
                )
        # Before decoding, Pillow names more than 8 bits in the raw mode of the tiles to decode.
        deep = (isinstance(image, ImageFile.ImageFile) and ";16" in str(image.tile[:1])) or image.mode.startswith("I")
        depth_note = f"{name}: more than 8 bits a channel; the result has 8" if deep else None
        image.load()
        upright = ImageOps.exif_transpose(image)
        rgb, alpha, colour_note = _split(upright, name)
        exif = image.getexif()
        for tag in _LAYOUT_TAGS & set(exif):
            del exif[tag]
        return cls(
            image=rgb,
            name=name,
            alpha=alpha,
            grey=upright.mode in ("1", "L", "LA", "La") or upright.mode.startswith("I"),
            exif=exif.tobytes() if len(exif) else None,
            icc_profile=None if upright.mode == "CMYK" else upright.info.get("icc_profile"),
            xmp=upright.info.get("xmp"),
            notes=tuple(note for note in (depth_note, colour_note) if note),
        )

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.size

    def tensor(self) -> Tensor:
        """Display values in [0, 1]: ``(3, H, W)`` float32."""
        return from_picture(self.image)


def open_photo(source: str | os.PathLike[str] | BinaryIO, name: str | None = None) -> Photo:
    """Read a photo from a file, or from an open binary stream.

    Args:
        source: Path, or a seekable stream.
        name: What to call the photo in messages; the path's file name by default.

    Raises:
        DiffcamError: If there is no such file, it is no image, it is damaged, or it is too large to decode safely.

    Examples:
        >>> Image.new("RGB", (6, 4)).save("photo.jpg")
        >>> open_photo("photo.jpg").size
        (6, 4)
    """
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        try:
            with path.open("rb") as stream:
                return open_photo(stream, name or path.name)
        except OSError as error:
            raise DiffcamError(f"{path}: cannot be opened ({refusal(error)}); check the photo's path") from None
    name = name or "photo"
    if not source.read(1):
        raise DiffcamError(f"{name}: the file is empty; choose another photo")
    source.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own limit is checked next
            image = Image.open(source, formats=READABLE_FORMATS)
        return Photo.from_image(image, name)
    except DiffcamError:
        raise
    except Image.DecompressionBombError:
        raise DiffcamError(_too_large(name)) from None
    except UnidentifiedImageError:
        raise DiffcamError(f"{name}: not an image that can be read; choose a JPEG, PNG, TIFF or WebP file") from None
    except Exception as error:  # a damaged file can make a decoder raise anything
        raise DiffcamError(f"{name}: the image is damaged ({first_line(error)}); choose an intact copy") from error


def _split(image: Image.Image, name: str) -> tuple[Image.Image, Image.Image | None, str | None]:
    """Convert an image of any mode to RGB, transparency (mode L or None) and a note on what changed (or None)."""
    if image.mode.startswith("I"):  # Pillow would clip these at 255 instead of scaling them
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise DiffcamError(f"{name}: grey values beyond 16 bits; save it with 8 or 16 bits first")
        return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB"), None, None
    if image.mode == "F":
        raise DiffcamError(f"{name}: holds floating-point numbers, not display values; save it with 8 or 16 bits first")
    if image.mode == "CMYK":
        profile = image.info.get("icc_profile")
        if profile is None:
            note = f"{name}: CMYK without a colour profile; its colours are approximate, the result is RGB"
            return image.convert("RGB"), None, note
        converted = ImageCms.profileToProfile(
            image, ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
        assert converted is not None  # it is only with inPlace=True
        return converted, None, f"{name}: CMYK; the result is sRGB"
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return rgba.convert("RGB"), rgba.getchannel("A"), None
    return image.convert("RGB"), None, None


def _too_large(name: str) -> str:
    return f"{name}: larger than {MAX_PIXELS // 1_000_000} megapixels, the most that is decoded; scale it down first"


def single_channel(values: NDArray[Any]) -> NDArray[Any]:
    """``(H, W)`` of grey saved as ``(H, W, 1)``, RGB or RGBA; anything else as it is.

    Examples:
        >>> single_channel(np.zeros((4, 6, 3))).shape
        (4, 6)
    """
    if values.ndim == 3 and values.shape[-1] in (1, 3, 4) and (values[..., :1] == values[..., :3]).all():
        return values[..., 0]
    return values
