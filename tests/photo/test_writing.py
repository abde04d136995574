from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageCms

from diffcam.camera import Camera
from diffcam.errors import DiffcamError
from diffcam.photo import RECORD_TAG, Photo, check_output, open_photo, save_photo

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><note/></x:xmpmeta>'
EXIF_IFD, GPS_IFD, DATE_TAKEN, MAKE, ORIENTATION = 0x8769, 0x8825, 0x9003, 0x010F, 0x0112


def picture(height: int = 20, width: int = 30, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


@pytest.fixture
def tagged_jpeg(tmp_path: Path) -> Path:
    exif = Image.Exif()
    exif[MAKE], exif[ORIENTATION] = "Maker", 6
    exif.get_ifd(EXIF_IFD)[DATE_TAKEN] = "2020:01:02 03:04:05"
    exif.get_ifd(GPS_IFD)[1] = "N"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = tmp_path / "tagged.jpg"
    Image.fromarray(picture()).save(path, exif=exif, icc_profile=profile, xmp=XMP)
    return path


def test_alpha_is_kept_and_put_back_exactly(tmp_path: Path) -> None:
    for channels, mode in ((4, "RGBA"), (2, "LA")):
        Image.fromarray(picture(channels=channels)).save(tmp_path / "in.png")
        photo = open_photo(tmp_path / "in.png")
        save_photo(photo.tensor(), tmp_path / "out.png", like=photo, force=True)
        with Image.open(tmp_path / "out.png") as result:
            assert result.mode == mode
            np.testing.assert_array_equal(np.asarray(result), picture(channels=channels))


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".webp", ".tif"])
def test_metadata_travels_and_the_record_is_added(tagged_jpeg: Path, tmp_path: Path, suffix: str) -> None:
    photo = open_photo(tagged_jpeg)
    record = {"camera": Camera((0.25, 0.5), 12), "model": "diffcam-tiny", "seed": 3, "steps": 8}
    path = save_photo(photo.tensor(), tmp_path / f"out{suffix}", like=photo, metadata=record)
    with Image.open(path) as result:
        assert result.size == (20, 30)
        exif = result.getexif()
        assert exif[MAKE] == "Maker"
        assert ORIENTATION not in exif
        assert exif.get_ifd(EXIF_IFD)[DATE_TAKEN] == "2020:01:02 03:04:05"
        assert exif.get_ifd(GPS_IFD)[1] == "N"
        assert result.info["icc_profile"] == photo.icc_profile
        assert b"<note/>" in result.info["xmp"]
        written = json.loads(exif[RECORD_TAG])
        assert written["camera"]["focus"] == [0.25, 0.5]
        assert written["seed"] == 3
        assert suffix != ".png" or json.loads(result.text["diffcam"]) == written


def test_metadata_of_a_tiff_does_not_describe_the_new_file(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "in.tif", compression="tiff_lzw", tiffinfo={MAKE: "Maker"})
    photo = open_photo(tmp_path / "in.tif")
    save_photo(photo.image, tmp_path / "out.jpg", like=photo)
    with Image.open(tmp_path / "out.jpg") as result:
        assert result.getexif()[MAKE] == "Maker"
        assert not {256, 257, 258, 259, 262, 273, 277, 278, 279, 284} & set(result.getexif())


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    path = tmp_path / "out.png"
    path.write_bytes(b"precious")
    with pytest.raises(DiffcamError, match=r"out\.png: exists already"):
        save_photo(torch.zeros(3, 4, 4), path)
    assert path.read_bytes() == b"precious"
    save_photo(torch.zeros(3, 4, 4), path, force=True)
    assert open_photo(path).size == (4, 4)


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", refuse)
    with pytest.raises(DiffcamError, match="No space left"):
        save_photo(torch.zeros(3, 4, 4), tmp_path / "out.png")
    assert list(tmp_path.iterdir()) == []


def test_an_impossible_output_is_refused_beforehand(tmp_path: Path) -> None:
    see_through = Photo.from_image(Image.fromarray(picture(channels=4)), "logo.png")
    with pytest.raises(DiffcamError, match=r"JPEG cannot keep the transparency of logo\.png"):
        check_output(tmp_path / "out.jpg", see_through)
    with pytest.raises(DiffcamError, match="cannot write this format"):
        check_output(tmp_path / "out.gif")
    with pytest.raises(DiffcamError, match="there is no folder"):
        check_output(tmp_path / "none" / "out.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(DiffcamError, match="is a folder"):
        check_output(tmp_path / "folder.png", force=True)


def test_a_picture_too_wide_for_the_format_is_named(tmp_path: Path) -> None:
    with pytest.raises(DiffcamError, match=r"cannot be written as \.webp"):
        save_photo(torch.zeros(3, 1, 20000), tmp_path / "out.webp")
    assert list(tmp_path.iterdir()) == []
