from __future__ import annotations

import random
import struct
import zlib
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from diffcam.errors import DiffcamError
from diffcam.photo import encode_photo, open_photo

XMP = b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><note/></x:xmpmeta>'
EXIF_IFD, GPS_IFD, DATE_TAKEN, MAKE, ORIENTATION = 0x8769, 0x8825, 0x9003, 0x010F, 0x0112


def picture(height: int = 20, width: int = 30, channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def png_bytes(width: int, height: int, bits: int, colour_type: int, rows: bytes) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, bits, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def encoded(image: Image.Image, file_format: str, **options: object) -> bytes:
    stream = BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def test_tensor_holds_display_values(tmp_path: Path) -> None:
    Image.fromarray(picture()).save(tmp_path / "a.png")
    photo = open_photo(tmp_path / "a.png")
    tensor = photo.tensor()
    assert tensor.dtype == torch.float32
    assert tensor.shape == (3, 20, 30)
    assert photo.size == (30, 20)
    np.testing.assert_allclose(tensor.permute(1, 2, 0).numpy(), picture() / 255.0, atol=1e-7)
    assert photo.notes == ()
    assert not photo.grey
    assert photo.alpha is None


# What each EXIF orientation asks for, in numpy: the stored array to the upright one.
UPRIGHT = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: np.rot90(a, 1),
}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("file_format", ["PNG", "TIFF"])
def test_exif_orientation_is_applied_once(orientation: int, file_format: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stored = picture(channels=4)
    photo = open_photo(BytesIO(encoded(Image.fromarray(stored), file_format, exif=exif)))
    upright = UPRIGHT[orientation](stored)
    np.testing.assert_array_equal(np.asarray(photo.image), upright[..., :3])
    np.testing.assert_array_equal(np.asarray(photo.alpha), upright[..., 3])
    again = open_photo(BytesIO(encode_photo(photo.image, ".png", like=photo)))
    np.testing.assert_array_equal(np.asarray(again.image), upright[..., :3])


def test_palette_bilevel_and_grey_become_rgb() -> None:
    grey = picture()[..., 0]
    palette = Image.fromarray(picture()).quantize(16)
    bilevel = Image.fromarray(grey).convert("1")
    for image, is_grey in ((Image.fromarray(grey), True), (palette, False), (bilevel, True)):
        photo = open_photo(BytesIO(encoded(image, "PNG")))
        np.testing.assert_array_equal(np.asarray(photo.image), np.asarray(image.convert("RGB")))
        assert photo.grey is is_grey


def test_palette_transparency_is_read() -> None:
    palette = Image.fromarray(picture()).quantize(8)
    photo = open_photo(BytesIO(encoded(palette, "PNG", transparency=3)))
    np.testing.assert_array_equal(np.asarray(photo.alpha), np.where(np.asarray(palette) == 3, 0, 255))


def test_grey_of_16_bits_is_scaled_not_clipped() -> None:
    values = np.array([[0, 128, 129, 257, 32768, 65535]], dtype=np.uint16)
    files = {"PNG": png_bytes(6, 1, 16, 0, b"\0" + values.astype(">u2").tobytes())}
    files["TIFF"] = encoded(Image.fromarray(values), "TIFF")
    for data in files.values():
        photo = open_photo(BytesIO(data))
        assert np.asarray(photo.image)[0, :, 0].tolist() == [0, 0, 1, 1, 128, 255]  # round(v / 257) by hand
        assert photo.grey
        assert "more than 8 bits" in photo.notes[0]


def test_colour_of_16_bits_keeps_its_high_bytes() -> None:
    values = np.random.default_rng(1).integers(0, 65536, (4, 5, 4), dtype=np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    photo = open_photo(BytesIO(png_bytes(5, 4, 16, 6, rows)))
    np.testing.assert_array_equal(np.asarray(photo.image), values[..., :3] >> 8)
    np.testing.assert_array_equal(np.asarray(photo.alpha), values[..., 3] >> 8)
    assert "more than 8 bits" in photo.notes[0]


def test_separate_16_bit_planes_are_refused_not_misread(tmp_path: Path) -> None:
    tifffile = pytest.importorskip("tifffile")
    planes = np.random.default_rng(2).integers(0, 65536, (3, 8, 9), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "planes.tif", planes, photometric="rgb", planarconfig="separate")
    with pytest.raises(DiffcamError, match=r"planes\.tif: a TIFF with separate 16-bit planes"):
        open_photo(tmp_path / "planes.tif")


def test_floating_point_image_is_refused() -> None:
    with pytest.raises(DiffcamError, match="floating-point"):
        open_photo(BytesIO(encoded(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF")))


def test_cmyk_becomes_rgb() -> None:
    inks = picture(channels=4)
    photo = open_photo(BytesIO(encoded(Image.fromarray(inks, "CMYK"), "TIFF")))
    plain = (255 - inks[..., :3].astype(float)) * (255 - inks[..., 3:].astype(float)) / 255
    assert np.abs(np.asarray(photo.image) - plain).max() <= 1.5
    assert "CMYK" in photo.notes[0]
    assert photo.icc_profile is None


@pytest.mark.parametrize("side", [20000, 11000])  # above Pillow's own limit, and between that and ours
def test_claimed_size_is_refused_before_decoding(tmp_path: Path, side: int) -> None:
    (tmp_path / "bomb.png").write_bytes(png_bytes(side, side, 8, 2, b"\0"))
    with pytest.raises(DiffcamError, match=r"^bomb\.png: larger than 120 megapixels"):
        open_photo(tmp_path / "bomb.png")


def test_one_pixel_is_a_photo() -> None:
    photo = open_photo(BytesIO(encoded(Image.new("RGB", (1, 1), (10, 20, 30)), "PNG")))
    assert photo.tensor().shape == (3, 1, 1)
    assert photo.image.getpixel((0, 0)) == (10, 20, 30)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"^x\.jpg: the file is empty"),
        (b"Dear diary", r"^x\.jpg: not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", r"^x\.jpg: not an image"),
        (b"\xff\xd8\xff\xe0", r"^x\.jpg: (not an image|the image is damaged)"),
    ],
)
def test_errors_name_a_file_that_is_no_image(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(DiffcamError, match=message) as error:
        open_photo(tmp_path / "x.jpg")
    assert "\n" not in str(error.value)


def test_errors_name_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(DiffcamError, match=r"none\.jpg: cannot be opened \(No such file"):
        open_photo(tmp_path / "none.jpg")
    with pytest.raises(DiffcamError, match="cannot be opened"):
        open_photo(tmp_path)


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP"])
def test_truncated_files_are_damaged_never_half_read(file_format: str) -> None:
    data = encoded(Image.fromarray(picture(64, 64)), file_format)
    for share in (0.3, 0.6, 0.9):
        with pytest.raises(DiffcamError, match=r"damaged|not an image"):
            open_photo(BytesIO(data[: int(len(data) * share)]))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_any_damage_gives_a_photo_or_one_line(file_format: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION], exif[MAKE] = 6, "Maker"
    data, draw, refused = encoded(Image.fromarray(picture(32, 32)), file_format, exif=exif), random.Random(0), 0
    for _ in range(200):
        damaged = bytearray(data)
        for _ in range(4):
            damaged[draw.randrange(min(len(data), 300))] = draw.randrange(256)
        try:
            open_photo(BytesIO(damaged)).tensor()
        except DiffcamError as error:
            refused += "\n" not in str(error)
    assert refused > 0


def test_exif_thumbnail_is_removed() -> None:
    make = struct.pack("<HHI4s", MAKE, 2, 4, b"abc\0")
    compression = struct.pack("<HHIHH", 0x0103, 3, 1, 6, 0)
    directories = struct.pack("<H", 1) + make + struct.pack("<I", 26) + struct.pack("<H", 1) + compression + bytes(4)
    exif = b"Exif\0\0II*\0" + struct.pack("<I", 8) + directories
    data = encoded(Image.fromarray(picture()), "JPEG", exif=exif)
    assert dict(Image.open(BytesIO(data)).getexif().get_ifd(ExifTags.IFD.IFD1)) == {0x0103: 6}
    kept = Image.Exif()
    kept.load(open_photo(BytesIO(data)).exif)
    assert dict(kept.get_ifd(ExifTags.IFD.IFD1)) == {}
    assert kept[MAKE] == "abc"
