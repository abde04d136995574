"""Photos as people keep them: read upright and in RGB, written back with what came with them.

Pixels are worked on at 8 bits a channel. Transparency, greyness, EXIF, colour profile and XMP of the original travel
beside them in `Photo` and are put back by `save_photo`; what could not be carried exactly is said in `Photo.notes`.
"""

from __future__ import annotations

import dataclasses
import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from PIL import Image, ImageCms, ImageFile, ImageOps, PngImagePlugin, TiffImagePlugin, UnidentifiedImageError
from torch import Tensor

from diffcam.errors import DiffcamError

MAX_PIXELS = 120_000_000
"""Larger photos are refused before a pixel is decoded: a file of a few kilobytes can claim gigabytes."""

READABLE_FORMATS = ("JPEG", "PNG", "TIFF", "WEBP", "AVIF", "JPEG2000", "BMP", "GIF", "PPM")
"""Pillow's plain raster formats. The others either are no photos or start programs (EPS runs Ghostscript)."""

WRITABLE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")
"""Formats that can hold the record of how a picture was made."""

RECORD_TEXT = "diffcam"
"""Key of the PNG text chunk that holds the record."""

RECORD_TAG = 0x9213
"""EXIF tag that holds the record in every format: ImageHistory, what was done to the image since it was taken."""

_ORIENTATION, _PLANAR_CONFIGURATION, _BITS_PER_SAMPLE, _XMP_TAG = 274, 284, 258, 700
# In a TIFF, EXIF shares its directory with the tags that say where and how the pixels are stored; and thumbnails,
# colour profile and XMP have places of their own.
# fmt: off
_LAYOUT_TAGS = frozenset([
    *range(254, 260), 262, 263, 266, 273, *range(277, 282), _PLANAR_CONFIGURATION, 317, 320, *range(322, 326), 330, 332,
    *range(338, 342), 347, 512, 513, 514, *range(529, 533), _XMP_TAG, 34377, 34675, _ORIENTATION,
])
# fmt: on


@dataclass(frozen=True, eq=False)
class Photo:
    """One photo, ready to work on, and what must come back when it is saved.

    Args:
        image: RGB, 8 bits, upright (any EXIF orientation is applied).
        name: What to call it in messages: its file name.
        alpha: Transparency, mode L, of the same size; None where the photo is opaque.
        grey: Whether the photo holds no colour.
        exif: EXIF block without orientation and thumbnail.
        icc_profile: Colour profile of `image`.
        xmp: XMP packet.
        notes: One sentence for each thing that could not be carried exactly.
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
        _check_size(image, name)
        depth_note = _depth_note(image, name)
        image.load()
        upright = ImageOps.exif_transpose(image)
        rgb, alpha, colour_note = _split(upright, name)
        return cls(
            image=rgb,
            name=name,
            alpha=alpha,
            grey=upright.mode in ("1", "L", "LA", "La") or upright.mode.startswith("I"),
            exif=_kept_exif(image),
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
        return torch.from_numpy(np.array(self.image)).permute(2, 0, 1).float().div_(255)


def open_photo(source: str | os.PathLike[str] | BinaryIO, name: str | None = None) -> Photo:
    """Read a photo from a file, or from an open binary stream.

    Args:
        source: Path, or a seekable stream.
        name: What to call the photo in messages; the path's file name by default.

    Raises:
        DiffcamError: If there is no such file, it is no image, it is damaged, or it is too large to decode safely.
    """
    if isinstance(source, (str, os.PathLike)):
        path = Path(source)
        try:
            with path.open("rb") as stream:
                return open_photo(stream, name or path.name)
        except OSError as error:
            raise DiffcamError(f"{path}: cannot be opened ({error.strerror}); check the photo's path") from None
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
        raise DiffcamError(f"{name}: the image is damaged ({error}); choose an intact copy") from error


def check_output(path: str | os.PathLike[str], like: Photo | None = None, force: bool = False) -> Path:
    """Say whether a picture can be written here, before any work is done for it.

    Raises:
        DiffcamError: If the suffix is not one of `WRITABLE_SUFFIXES`, the format cannot keep the photo's transparency,
            the folder is missing, or the file exists and `force` is false.
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
    """
    path = check_output(path, like, force)
    data = encode_photo(image, path.suffix, like, metadata)
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with partial.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        check_output(path, like, force)  # another program may have written it meanwhile
        os.replace(partial, path)
    except OSError as error:
        raise DiffcamError(f"{path}: cannot be written ({error.strerror}); choose another place") from error
    finally:
        partial.unlink(missing_ok=True)
    return path


def encode_photo(
    image: Tensor | Image.Image,
    suffix: str,
    like: Photo | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> bytes:
    """The file that `save_photo` writes, as bytes; arguments as there, `suffix` one of `WRITABLE_SUFFIXES`."""
    result = _to_image(image) if isinstance(image, Tensor) else image
    like = like or Photo(result)
    if like.grey:
        result = result.convert("L")
    if like.alpha is not None:
        result = result.copy()
        result.putalpha(like.alpha)
    record = json.dumps(dict(metadata), default=dataclasses.asdict) if metadata is not None else None
    options = _container_options(suffix.lower(), _exif_with(like.exif, record), like, record)
    stream = BytesIO()
    try:
        result.save(stream, icc_profile=like.icc_profile, **options)
    except (OSError, ValueError) as error:  # such as a picture wider than the format can be
        raise DiffcamError(f"{like.name}: cannot be written as {suffix} ({error}); write a .png") from error
    return stream.getvalue()


def _container_options(suffix: str, exif: Image.Exif, like: Photo, record: str | None) -> dict[str, Any]:
    """Keyword arguments of Pillow's `save` for one format."""
    if suffix == ".png":
        chunks = PngImagePlugin.PngInfo()
        if record is not None:
            chunks.add_text(RECORD_TEXT, record)
        if like.xmp is not None:
            chunks.add_itxt("XML:com.adobe.xmp", like.xmp.decode("utf-8", "replace"))
        return {"format": "PNG", "exif": exif, "pnginfo": chunks}
    if suffix in (".tif", ".tiff"):
        if like.xmp is not None:
            exif[_XMP_TAG] = like.xmp
        return {"format": "TIFF", "exif": exif}  # uncompressed: Pillow's compressed TIFFs cannot hold EXIF
    lossy: dict[str, Any] = {"exif": exif, "quality": 95}
    if like.xmp is not None:
        lossy["xmp"] = like.xmp
    if suffix == ".webp":
        return {"format": "WEBP", **lossy}
    return {"format": "JPEG", "subsampling": "4:4:4", **lossy}


def _exif_with(block: bytes | None, record: str | None) -> Image.Exif:
    exif = Image.Exif()
    if block is not None:
        exif.load(block)
    if record is not None:
        exif[RECORD_TAG] = record
    return exif


def _kept_exif(image: Image.Image) -> bytes | None:
    """EXIF of an image without orientation (applied), storage layout and thumbnail (of the old picture)."""
    exif = image.getexif()
    for tag in _LAYOUT_TAGS & set(exif):
        del exif[tag]
    return exif.tobytes() if len(exif) else None


def _split(image: Image.Image, name: str) -> tuple[Image.Image, Image.Image | None, str | None]:
    """RGB, transparency and a note on what changed, from an image of any mode."""
    if image.mode.startswith("I"):  # Pillow would clip these at 255 instead of scaling them
        return _scale_grey(image, name), None, None
    if image.mode == "F":
        raise DiffcamError(f"{name}: holds floating-point numbers, not display values; save it with 8 or 16 bits first")
    if image.mode == "CMYK":
        rgb, note = _from_print(image, name)
        return rgb, None, note
    if image.has_transparency_data:
        rgba = image.convert("RGBA")
        return rgba.convert("RGB"), rgba.getchannel("A"), None
    return image.convert("RGB"), None, None


def _scale_grey(image: Image.Image, name: str) -> Image.Image:
    """Grey of 16 bits, or of 32 that use 16, as 8-bit RGB."""
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise DiffcamError(f"{name}: grey values beyond 16 bits; save it with 8 or 16 bits first")
    return Image.fromarray(((values + 128) // 257).astype(np.uint8)).convert("RGB")


def _from_print(image: Image.Image, name: str) -> tuple[Image.Image, str]:
    """CMYK as sRGB: through its profile, or by plain arithmetic where it has none."""
    profile = image.info.get("icc_profile")
    if profile is None:
        return image.convert(
            "RGB"
        ), f"{name}: CMYK without a colour profile; its colours are approximate, the result is RGB"
    converted = ImageCms.profileToProfile(
        image, ImageCms.ImageCmsProfile(BytesIO(profile)), ImageCms.createProfile("sRGB"), outputMode="RGB"
    )
    assert converted is not None  # it is only with inPlace=True
    return converted, f"{name}: CMYK; the result is sRGB"


def _depth_note(image: Image.Image, name: str) -> str | None:
    """Tell of numbers wider than 8 bits: before decoding, Pillow says so in the raw mode of the tiles to decode."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        planar = image.tag_v2.get(_PLANAR_CONFIGURATION) == 2
        if planar and max(image.tag_v2.get(_BITS_PER_SAMPLE, (1,))) > 8:  # Pillow would read such planes as noise
            raise DiffcamError(f"{name}: a TIFF with separate 16-bit planes; save it with interleaved colours first")
    wide = isinstance(image, ImageFile.ImageFile) and ";16" in str(image.tile[:1])
    return f"{name}: more than 8 bits a channel; the result has 8" if wide or image.mode.startswith("I") else None


def _check_size(image: Image.Image, name: str) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise DiffcamError(_too_large(name))


def _too_large(name: str) -> str:
    return f"{name}: larger than {MAX_PIXELS // 1_000_000} megapixels, the most that is decoded; scale it down first"


def _to_image(tensor: Tensor) -> Image.Image:
    values = tensor.detach().clamp(0, 1).mul(255).round().to("cpu", torch.uint8)
    return Image.fromarray(values.permute(1, 2, 0).numpy())
