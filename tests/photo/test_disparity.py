"""Every format gives the same map; what cannot be a map is named and refused."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from diffcam.errors import DiffcamError
from diffcam.photo.disparity import (
    fill_holes,
    load_disparity,
    normalise_disparity,
    read_disparity,
    resize_disparity,
)


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).integers(100, 60000, (7, 11)).astype(np.uint16)


def write_pfm(path, values, order) -> None:
    header = f"Pf\n{values.shape[1]} {values.shape[0]}\n{'-1.0' if order == '<' else '1.0'}\n"
    path.write_bytes(header.encode() + values[::-1].astype(f"{order}f4").tobytes())


def write_exr(path, values) -> None:
    openexr = pytest.importorskip("OpenEXR")
    openexr.File({"compression": openexr.PIZ_COMPRESSION}, {"Y": values.astype(np.float32)}).write(str(path))


WRITERS = {
    "a.png": lambda path, values: Image.fromarray(values).save(path),
    "a.tif": lambda path, values: Image.fromarray(values.astype(np.float32)).save(path),
    "little.pfm": lambda path, values: write_pfm(path, values, "<"),
    "big.pfm": lambda path, values: write_pfm(path, values, ">"),
    "a.exr": write_exr,
    "float64.npy": lambda path, values: np.save(path, values.astype(np.float64)),
    "extra_axis.npy": lambda path, values: np.save(path, values[None]),
    "rgb.npy": lambda path, values: np.save(path, np.repeat(values[..., None], 3, 2)),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_map(tmp_path, values, name) -> None:
    WRITERS[name](tmp_path / name, values)
    loaded = load_disparity(tmp_path / name)
    low, high = float(values.min()), float(values.max())
    np.testing.assert_allclose(loaded[0], (values - low) / (high - low), atol=1e-6)
    assert loaded.dtype == torch.float32
    assert loaded.shape == (1, 7, 11)


def test_depth_is_inverted(tmp_path) -> None:
    np.save(tmp_path / "depth.npy", np.array([[1.0, 2.0, 4.0]]))
    np.testing.assert_allclose(
        load_disparity(tmp_path / "depth.npy", inverse=True)[0], [[1.0, (0.5 - 0.25) / 0.75, 0.0]], atol=1e-6
    )


def test_one_value_becomes_zeros() -> None:
    assert torch.equal(normalise_disparity(torch.full((1, 3, 4), 7.0)), torch.zeros(1, 3, 4))


def test_each_map_of_a_batch_has_its_own_range() -> None:
    maps = torch.tensor([[5.0, 5.0], [1.0, 3.0]]).view(2, 1, 1, 2)
    assert normalise_disparity(maps).flatten().tolist() == [0, 0, 0, 1]


def test_resizing_is_nearest_upwards_and_area_average_downwards() -> None:
    values = torch.tensor([[[0.0, 1.0], [0.25, 0.5]]])
    grown = resize_disparity(values, (5, 7))
    assert set(grown.unique().tolist()) == {0.0, 0.25, 0.5, 1.0}
    assert resize_disparity(values, (1, 1)).item() == pytest.approx(0.4375)


def test_map_is_resized_to_the_photo(tmp_path, values) -> None:
    np.save(tmp_path / "a.npy", values)
    assert load_disparity(tmp_path / "a.npy", (14, 22)).shape == (1, 14, 22)


def bad_nan(path) -> None:
    np.save(path / "x.npy", np.array([[1.0, np.nan], [2.0, np.inf]]))


def bad_shape(path) -> None:
    np.save(path / "x.npy", np.zeros((4, 5, 2)))


def bad_colour(path) -> None:
    np.save(path / "x.npy", np.random.default_rng(0).random((4, 5, 3)))


def bad_objects(path) -> None:
    np.save(path / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)


def bad_complex(path) -> None:
    np.save(path / "x.npy", np.zeros((3, 3), dtype=complex))


def bad_empty(path) -> None:
    np.save(path / "x.npy", np.zeros((0, 3)))


def bad_text(path) -> None:
    (path / "x.png").write_text("not a picture")


def bad_exr(path) -> None:
    (path / "x.exr").write_text("not a picture")


def bad_pfm(path) -> None:
    (path / "x.pfm").write_bytes(b"Pf\n100 100\n-1\n\0\0\0\0")


def bad_pfm_size(path) -> None:
    (path / "x.pfm").write_bytes(b"Pf\n1000000 1000000\n-1\n\0\0\0\0")


def bad_pfm_negative(path) -> None:
    (path / "x.pfm").write_bytes(b"Pf\n-4 -5\n-1\n" + bytes(80))


def header_of_png(colour_type: int, bits: int) -> bytes:
    """A picture that is a header of 20000x20000 pixels and nothing more."""
    header = struct.pack(">IIBBBBB", 20000, 20000, bits, colour_type, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    lines = (struct.pack(">I", len(d)) + kind + d + struct.pack(">I", zlib.crc32(kind + d)) for kind, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(lines)


def bad_png_size(path) -> None:
    (path / "x.png").write_bytes(header_of_png(colour_type=2, bits=8))


def bad_grey_png_size(path) -> None:
    (path / "x.png").write_bytes(header_of_png(colour_type=0, bits=16))


def bad_npy_size(path) -> None:
    with open(path / "x.npy", "wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f4", "fortran_order": False, "shape": (200000, 2000000)})


def bad_npy_that_is_long(path) -> None:
    np.lib.format.open_memmap(path / "x.npy", mode="w+", dtype=np.uint8, shape=(20000, 20000))


def bad_exr_size(path) -> None:
    write_exr(path / "x.exr", np.zeros((7, 11)))
    small, large = np.int32([0, 0, 10, 6]).tobytes(), np.int32([0, 0, 99999, 99999]).tobytes()
    (path / "x.exr").write_bytes((path / "x.exr").read_bytes().replace(small, large))


def bad_archive(path) -> None:
    with open(path / "x.npy", "wb") as file:
        np.savez(file, np.zeros((3, 3)))


def bad_jpeg(path) -> None:
    Image.new("L", (4, 4)).save(path / "x.png", "JPEG")


def bad_suffix(path) -> None:
    (path / "x.txt").write_text("1 2 3")


def bad_palette(path) -> None:
    Image.new("P", (4, 4)).save(path / "x.png")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (bad_nan, "2 of 4 values are NaN"),
        (bad_shape, "one value a pixel"),
        (bad_colour, "one value a pixel"),
        (bad_objects, "cannot be read"),
        (bad_complex, "real numbers"),
        (bad_empty, "one value a pixel"),
        (bad_text, "cannot be read"),
        (bad_exr, "cannot be read"),
        (bad_pfm, "ends before"),
        (bad_pfm_size, "1000000x1000000"),
        (bad_pfm_negative, "-4x-5"),
        (bad_png_size, "400000000 pixels"),
        (bad_grey_png_size, "400000000 pixels"),
        (bad_npy_size, "cannot be read"),
        (bad_npy_that_is_long, "20000x20000 pixels"),
        (bad_exr_size, "100000x100000"),
        (bad_archive, "cannot be read"),
        (bad_jpeg, "cannot be read"),
        (bad_suffix, "not a disparity map"),
        (bad_palette, "palette"),
    ],
)
def test_errors_name_files_that_are_no_maps(tmp_path, make, message) -> None:
    make(tmp_path)
    file = next(tmp_path.iterdir())
    with pytest.raises(DiffcamError, match=message) as caught:
        load_disparity(file)
    assert file.name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_depth_of_zero_cannot_be_inverted(tmp_path) -> None:
    np.save(tmp_path / "x.npy", np.array([[0.0, 1.0]]))
    with pytest.raises(DiffcamError, match="positive"):
        load_disparity(tmp_path / "x.npy", inverse=True)


def test_holes_take_the_farther_neighbour_of_their_row() -> None:
    nan, inf = np.nan, np.inf
    values = np.array([[nan, nan, nan, nan], [5, nan, inf, 2], [nan, 3, nan, nan], [nan, nan, inf, nan]], np.float32)
    np.testing.assert_array_equal(fill_holes(values), [[5, 2, 2, 2], [5, 2, 2, 2], [3, 3, 3, 3], [3, 3, 3, 3]])
    whole = np.random.default_rng(0).random((3, 4)).astype(np.float32)
    np.testing.assert_array_equal(fill_holes(whole), whole)


def test_a_map_of_holes_alone_cannot_be_filled(tmp_path) -> None:
    np.save(tmp_path / "x.npy", np.full((3, 4), np.nan))
    with pytest.raises(DiffcamError, match="12 of 12"):
        load_disparity(tmp_path / "x.npy", fill=True)


def test_one_pixel_of_grey_saved_as_rgb_is_one_value(tmp_path) -> None:
    Image.new("RGB", (1, 1), (51, 51, 51)).save(tmp_path / "x.png")
    assert read_disparity(tmp_path / "x.png").tolist() == [[51]]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int32])
def test_integers_are_read_as_they_are(tmp_path, dtype) -> None:
    given = np.arange(50, 98).reshape(6, 8).astype(dtype)
    Image.fromarray(given).save(tmp_path / "x.tif")
    np.testing.assert_array_equal(read_disparity(tmp_path / "x.tif"), given)


def test_floats_are_read_as_they_are_in_range_and_scaled_beyond(tmp_path) -> None:
    given = np.float32([[0.2, 0.3, 0.7]])
    for name, values, expected in (
        ("fractions", given, given),
        ("pixels", given * 100, [[0, 0.2, 1]]),
        ("signed", given - 0.3, [[0, 0.2, 1]]),
        ("large integers", (given * 1000000).astype(np.int64), [[0, 0.2, 1]]),
    ):
        np.save(tmp_path / f"{name}.npy", values)
        np.testing.assert_allclose(read_disparity(tmp_path / f"{name}.npy"), expected, atol=1e-6)


def test_depth_and_holes_are_read_for_the_pipeline_too(tmp_path) -> None:
    np.save(tmp_path / "depth.npy", np.array([[1, 2, 4]], dtype=np.uint8))
    np.testing.assert_allclose(read_disparity(tmp_path / "depth.npy", inverse=True), [[1, 1 / 3, 0]], atol=1e-6)
    np.save(tmp_path / "holes.npy", np.array([[0.5, np.nan, 0.2]]))
    np.testing.assert_allclose(read_disparity(tmp_path / "holes.npy", fill=True), [[0.5, 0.2, 0.2]])
    with pytest.raises(DiffcamError, match="--fill-holes"):
        read_disparity(tmp_path / "holes.npy")
