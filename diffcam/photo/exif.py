"""The lens that took a photo, as its EXIF tells it."""

from __future__ import annotations

import math
from typing import Any

from PIL import ExifTags, Image

from diffcam.camera import ThinLens
from diffcam.errors import DiffcamError
from diffcam.photo.reading import Photo

FULL_FRAME_DIAGONAL = math.hypot(36.0, 24.0)
"""Millimetres: equal diagonals make a focal length that of 35 mm film (CIPA DCG-001)."""

INFINITE = 0xFFFFFFFF
"""Numerator of a SubjectDistance that is infinite (Exif 2.32, section 4.6.5)."""

INCH, CENTIMETRE = 2, 3
"""FocalPlaneResolutionUnit; inches where none is said (Exif 2.32, section 4.6.5)."""

MILLIMETRES_OF_UNIT = {INCH: 25.4, CENTIMETRE: 10.0}


def lens_from_exif(photo: Photo, focus_distance: float | None = None) -> ThinLens:
    """The lens that took a photo, from what its EXIF says; nothing is guessed.

    The f-number is FNumber, the focal length FocalLength, and the focus distance SubjectDistance. The sensor's size
    is read from FocalLengthIn35mmFilm, as the diagonal of the photo's aspect; without it from FocalPlaneXResolution and
    the recorded size in pixels. Of a photo that was cropped since it was taken neither is right.

    Args:
        photo: As read from its file.
        focus_distance: Metres, where it is known otherwise: EXIF's own is then not read.

    Raises:
        DiffcamError: If a tag is missing or says nothing, or no lens has these numbers.

    Examples:
        >>> exif = Image.Exif()
        >>> said = {"FNumber": 1.8, "FocalLength": 50.0, "SubjectDistance": 1.5, "FocalLengthIn35mmFilm": 75}
        >>> exif[ExifTags.IFD.Exif] = {ExifTags.Base[name]: number for name, number in said.items()}
        >>> Image.new("RGB", (6, 4)).save("photo.jpg", exif=exif)
        >>> lens = lens_from_exif(Photo.from_image(Image.open("photo.jpg")))
        >>> lens.focal_length, lens.f_number, lens.focus_distance, round(lens.sensor_short_side, 3)
        (50.0, 1.8, 1.5, 16.0)
    """
    exif = Image.Exif()
    if photo.exif is not None:
        exif.load(photo.exif)
    tags = exif.get_ifd(ExifTags.IFD.Exif)
    f_number, focal_length = _needed(photo, tags, "FNumber"), _needed(photo, tags, "FocalLength")
    short_side = _sensor_short_side(photo, tags, focal_length)
    if focus_distance is None:
        focus_distance = _focus_distance(photo, tags)
    try:
        return ThinLens(focal_length, f_number, focus_distance, short_side)
    except ValueError as error:
        raise DiffcamError(f"{photo.name}: {error}; give the lens itself") from None


def _sensor_short_side(photo: Photo, tags: dict[int, Any], focal_length: float) -> float:
    """Millimetres."""
    film = _number(tags, "FocalLengthIn35mmFilm")
    if film is not None:
        width, height = photo.size
        return FULL_FRAME_DIAGONAL * focal_length / film * min(width, height) / math.hypot(width, height)
    names = ("FocalPlaneXResolution", "ExifImageWidth", "ExifImageHeight")
    per_unit, columns, rows = (_number(tags, name) for name in names)
    unit = MILLIMETRES_OF_UNIT.get(tags.get(ExifTags.Base.FocalPlaneResolutionUnit, INCH))
    if per_unit is None or columns is None or rows is None or unit is None:
        raise _missing(photo, "FocalLengthIn35mmFilm, nor a whole FocalPlaneXResolution")
    return min(columns, rows) / per_unit * unit


def _focus_distance(photo: Photo, tags: dict[int, Any]) -> float:
    """Metres; may be infinite."""
    said = tags.get(ExifTags.Base.SubjectDistance)
    if getattr(said, "numerator", said) == INFINITE:
        return math.inf
    return _needed(photo, tags, "SubjectDistance")


def _needed(photo: Photo, tags: dict[int, Any], name: str) -> float:
    number = _number(tags, name)
    if number is None:
        raise _missing(photo, name)
    return number


def _number(tags: dict[int, Any], name: str) -> float | None:
    """A tag's positive number; None where it is missing or, as zeros and 0 / 0 in EXIF, says that it is unknown."""
    try:
        number = float(tags[ExifTags.Base[name]])
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
    return number if 0 < number < math.inf else None


def _missing(photo: Photo, name: str) -> DiffcamError:
    remedy = "give the lens itself (commands: the camera, --taken-with X,Y,B)"
    if name == "SubjectDistance":
        remedy = "give the lens with lens_from_exif(photo, METRES) (commands: --taken-with exif,METRES)"
    return DiffcamError(f"{photo.name}: EXIF has no {name}; {remedy}")
