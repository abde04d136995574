from __future__ import annotations

import threading
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from diffcam.camera import Camera
from diffcam.errors import DiffcamError
from diffcam.pipeline import RefocusPipeline
from diffcam.ui.desk import PREVIEW_SIDE, PhotoDesk, preview

CAMERA = Camera((0.25, 0.5), 12.0)


def npy(array: np.ndarray) -> bytes:
    stream = BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def test_refocuses_as_the_pipeline_does(desk: PhotoDesk, pipeline: RefocusPipeline, photo_bytes: bytes) -> None:
    key = desk.open(photo_bytes, "holiday.jpg")
    opened = desk.refocus(key, CAMERA, steps=2, seed=3)
    expected = pipeline(opened.photo, CAMERA, steps=2, seed=3).images[0]
    assert np.array_equal(np.asarray(opened.picture), np.asarray(expected))
    assert opened.picture.size == (72, 96)
    assert (opened.version, opened.step, opened.record["seed"]) == (1, 2, 3)


def test_conditions_are_encoded_once_per_photo(
    desk: PhotoDesk, pipeline: RefocusPipeline, photo_bytes: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, encode = [], pipeline.model.encode_photo
    monkeypatch.setattr(pipeline.model, "encode_photo", lambda *images: calls.append(1) or encode(*images))
    key = desk.open(photo_bytes, "holiday.jpg")
    for bokeh in (2.0, 9.0, 16.0):
        desk.refocus(key, Camera((0.5, 0.5), bokeh), steps=1, seed=0)
    assert len(calls) == 1


def test_a_depth_map_changes_the_result(desk: PhotoDesk, photo_bytes: bytes) -> None:
    key = desk.open(photo_bytes, "holiday.jpg")
    without = np.asarray(desk.refocus(key, CAMERA, 2, 0).picture)
    desk.set_depth(key, npy(np.linspace(0, 1, 96 * 72).reshape(96, 72)), "depth.npy")
    assert not np.array_equal(np.asarray(desk.refocus(key, CAMERA, 2, 0).picture), without)


@pytest.mark.parametrize(
    ("data", "name", "message"),
    [
        (npy(np.full((96, 72), np.nan)), "depth.npy", r"^depth\.npy: "),
        (b"no map", "depth.png", r"^depth\.png: "),
        (npy(np.linspace(0, 1, 5000).reshape(50, 100)), "wide.npy", "same frame"),
        (b"no map", "../../depth.txt", r"^depth\.txt: "),
    ],
)
def test_a_bad_depth_map_is_named_and_changes_nothing(
    desk: PhotoDesk, photo_bytes: bytes, data: bytes, name: str, message: str
) -> None:
    key = desk.open(photo_bytes, "holiday.jpg")
    session = desk[key].session
    with pytest.raises(DiffcamError, match=message):
        desk.set_depth(key, data, name)
    assert desk[key].session is session


def test_the_photo_used_least_recently_is_closed(desk: PhotoDesk, photo_bytes: bytes) -> None:
    first, second = desk.open(photo_bytes, "1.jpg"), desk.open(photo_bytes, "2.jpg")
    assert desk[first].photo.name == "1.jpg"
    third = desk.open(photo_bytes, "3.jpg")
    assert {desk[first].photo.name, desk[third].photo.name} == {"1.jpg", "3.jpg"}
    with pytest.raises(DiffcamError, match="no longer open"):
        desk[second]


def test_clicks_at_the_same_time_wait_for_each_other(desk: PhotoDesk, photo_bytes: bytes) -> None:
    key = desk.open(photo_bytes, "holiday.jpg")
    threads = [threading.Thread(target=desk.refocus, args=(key, CAMERA, 2, seed)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert desk[key].version == 4
    again = desk.refocus(key, CAMERA, 2, desk[key].record["seed"])
    assert again.version == 5


@pytest.mark.parametrize(
    ("mode", "name", "file_format", "expected"),
    [
        ("RGB", "a.jpg", "JPEG", ("a-refocused.jpg", "JPEG")),
        ("RGBA", "a.png", "PNG", ("a-refocused.png", "PNG")),
        ("RGBA", "a.jpg", "PNG", ("a-refocused.png", "PNG")),  # the name says what the file is not
        ("RGB", "b.gif", "GIF", ("b-refocused.png", "PNG")),
    ],
)
def test_downloads_in_the_photos_own_format(
    desk: PhotoDesk, mode: str, name: str, file_format: str, expected: tuple[str, str]
) -> None:
    stream = BytesIO()
    Image.new(mode, (40, 30), (90, 120, 200, 128)[: len(mode)]).save(stream, file_format)
    key = desk.open(stream.getvalue(), name)
    with pytest.raises(DiffcamError, match="click on the photo first"):
        desk[key].download()
    file_name, data = desk.refocus(key, CAMERA, 1, 0).download()
    with Image.open(BytesIO(data)) as picture:
        assert (file_name, picture.format) == expected
        assert picture.mode == mode
        assert 0x9213 in picture.getexif()


def test_previews_are_small_and_keep_the_aspect() -> None:
    picture = Image.open(BytesIO(preview(Image.new("RGB", (4000, 3000)))))
    assert picture.size == (PREVIEW_SIDE, PREVIEW_SIDE * 3 // 4)
    assert Image.open(BytesIO(preview(Image.new("RGBA", (10, 5))))).mode == "RGBA"
