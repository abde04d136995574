"""The lens of JPEG files whose EXIF Pillow wrote, against the circle of confusion as textbooks have it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from PIL import ExifTags, Image
from PIL.TiffImagePlugin import IFDRational

from diffcam.errors import DiffcamError
from diffcam.photo import lens_from_exif, open_photo

Tags = dict[str, Any]

TOLD: Tags = {
    "FNumber": IFDRational(9, 5),
    "FocalLength": IFDRational(85, 1),
    "SubjectDistance": IFDRational(21, 10),
    "FocalLengthIn35mmFilm": 128,
}

ON_THE_PLANE: Tags = {
    "FocalLengthIn35mmFilm": None,
    "FocalPlaneXResolution": IFDRational(6000 * 254, 236),  # 6000 pixels on 23.6 mm, to the inch
    "FocalPlaneResolutionUnit": 2,
    "ExifImageWidth": 6000,
    "ExifImageHeight": 4000,
}


def photo_with(path: Path, size: tuple[int, int] = (600, 400), orientation: int = 1, **changes: Any) -> Path:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    tags = exif.get_ifd(ExifTags.IFD.Exif)
    for name, value in (TOLD | changes).items():
        if value is not None:
            tags[ExifTags.Base[name]] = value
    Image.new("RGB", size, (90, 120, 40)).save(path, exif=exif)
    return path


def circle_radius(focal_mm: float, f_number: float, focus_mm: float, distance_mm: float) -> float:
    """``f^2 / (N (s - f)) |d - s| / d / 2``, millimetres on the sensor."""
    return focal_mm**2 / (f_number * (focus_mm - focal_mm)) * abs(distance_mm - focus_mm) / distance_mm / 2


@pytest.mark.parametrize(("size", "orientation"), [((600, 400), 1), ((600, 400), 6), ((400, 600), 1), ((640, 480), 1)])
@pytest.mark.parametrize("distance", [1.2, 3.0, 40.0])
def test_radii_are_those_of_the_textbooks(
    tmp_path: Path, size: tuple[int, int], orientation: int, distance: float
) -> None:
    lens = lens_from_exif(open_photo(photo_with(tmp_path / "portrait.jpg", size, orientation)))
    near, far = 1.0, 50.0
    disparity = (1 / distance - 1 / far) / (1 / near - 1 / far)
    pixels = lens.bokeh(near, far) * abs(disparity - lens.focus_disparity(near, far)) * min(size) / 512
    pixels_per_mm = math.hypot(*size) / (43.27 * 85 / 128)  # the diagonal of a frame whose crop factor is 128 / 85
    assert pixels == pytest.approx(circle_radius(85, 1.8, 2100, distance * 1000) * pixels_per_mm, rel=2e-4)


@pytest.mark.parametrize(("unit", "inch"), [(2, 1.0), (None, 1.0), (3, 2.54)])
@pytest.mark.parametrize("turned", [False, True])
def test_the_sensor_is_measured_by_its_pixels(tmp_path: Path, unit: int | None, inch: float, turned: bool) -> None:
    changes = ON_THE_PLANE | {"FocalPlaneResolutionUnit": unit}
    changes["FocalPlaneXResolution"] = IFDRational(round(6000 * 254 / inch), 236)
    if turned:
        changes |= {"ExifImageWidth": 4000, "ExifImageHeight": 6000}
    lens = lens_from_exif(open_photo(photo_with(tmp_path / "a.jpg", **changes)))
    assert lens.sensor_short_side == pytest.approx(23.6 * 4000 / 6000, rel=1e-4)
    assert (lens.focal_length, lens.f_number, lens.focus_distance) == pytest.approx((85, 1.8, 2.1))


def test_infinity_is_a_number_of_its_own(tmp_path: Path) -> None:
    photo = open_photo(photo_with(tmp_path / "hills.jpg", SubjectDistance=IFDRational(0xFFFFFFFF, 1)))
    assert lens_from_exif(photo).focus_distance == math.inf


def test_a_distance_that_is_told_is_taken(tmp_path: Path) -> None:
    for name, said in (("a.jpg", None), ("b.jpg", IFDRational(9, 1))):
        photo = open_photo(photo_with(tmp_path / name, SubjectDistance=said))
        assert lens_from_exif(photo, 1.25).focus_distance == 1.25


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"SubjectDistance": None}, "EXIF has no SubjectDistance; give the lens with"),
        ({"SubjectDistance": IFDRational(0, 1)}, "EXIF has no SubjectDistance"),
        ({"FNumber": None}, "EXIF has no FNumber; give the lens itself"),
        ({"FNumber": IFDRational(0, 0)}, "EXIF has no FNumber"),
        ({"FNumber": "f/2"}, "EXIF has no FNumber"),
        ({"FocalLength": None}, "EXIF has no FocalLength;"),
        ({"FocalLengthIn35mmFilm": None}, "EXIF has no FocalLengthIn35mmFilm, nor a whole FocalPlaneXResolution"),
        ({"FocalLengthIn35mmFilm": 0}, "EXIF has no FocalLengthIn35mmFilm"),
        (ON_THE_PLANE | {"FocalPlaneResolutionUnit": 1}, "nor a whole FocalPlaneXResolution"),
        (ON_THE_PLANE | {"ExifImageHeight": None}, "nor a whole FocalPlaneXResolution"),
        ({"SubjectDistance": IFDRational(8, 100)}, "85 mm cannot focus at 0.08 m"),
    ],
)
def test_what_exif_does_not_say_is_named_in_one_line(tmp_path: Path, changes: Tags, words: str) -> None:
    photo = open_photo(photo_with(tmp_path / "photo.jpg", **changes))
    with pytest.raises(DiffcamError) as caught:
        lens_from_exif(photo)
    assert str(caught.value).startswith("photo.jpg: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_photo_without_exif_says_nothing(tmp_path: Path) -> None:
    Image.new("RGB", (6, 4)).save(tmp_path / "bare.png")
    with pytest.raises(DiffcamError, match=r"bare\.png: EXIF has no FNumber"):
        lens_from_exif(open_photo(tmp_path / "bare.png"))
