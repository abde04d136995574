from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from diffcam.camera import Camera, focus_fractions
from diffcam.commands.cli import main, run_diffcam
from diffcam.photo import open_photo
from diffcam.pipeline import RefocusPipeline


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (90, 130, 3), dtype=np.uint8)
    path = tmp_path / "holiday.jpg"
    Image.fromarray(pixels).save(path)
    return path


def refocus(photo: Path, model: Path, *options: str) -> int:
    return run_diffcam(["refocus", str(photo), "--model", str(model), "--steps", "2", *options])


def complaint(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> str:
    """What the console script prints when it ends with an error."""
    monkeypatch.setattr(sys, "argv", ["diffcam", "refocus", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    text = capsys.readouterr().err
    assert "Traceback" not in text
    assert len(text.strip().splitlines()) == 1
    return text


def test_writes_the_picture_beside_the_photo_with_its_record(
    photo: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert refocus(photo, model_folder, "--focus", "0.25,0.5", "--bokeh", "12", "--depth", "none", "--seed", "5") == 0
    output = photo.with_name("holiday-refocused.jpg")
    assert capsys.readouterr().out.strip() == str(output)
    with Image.open(output) as result:
        assert result.size == (130, 90)
        record = json.loads(result.getexif()[0x9213])
    assert record["focus"] == [0.25, 0.5]
    assert (record["bokeh"], record["seed"], record["steps"], record["model"]) == (12.0, 5, 2, "random")


def test_steps_are_those_that_the_model_is_meant_for(photo: Path, model_folder: Path) -> None:
    run_diffcam(["refocus", str(photo), "--model", str(model_folder), "--focus", "0.5,0.5", "--bokeh", "9"])
    with Image.open(photo.with_name("holiday-refocused.jpg")) as result:
        assert json.loads(result.getexif()[0x9213])["steps"] == 8


def test_the_seed_decides(photo: Path, model_folder: Path, tmp_path: Path) -> None:
    outputs = [tmp_path / f"{name}.png" for name in "abc"]
    for output, seed in zip(outputs, ("1", "1", "2"), strict=True):
        refocus(photo, model_folder, "--focus", "0.5,0.5", "--bokeh", "9", "--output", str(output), "--seed", seed)
    first, same, other = (np.asarray(Image.open(output)) for output in outputs)
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_focus_in_pixels_is_focus_in_fractions(photo: Path, model_folder: Path, tmp_path: Path) -> None:
    for name, focus in (("pixels", "64.5,26.5"), ("fractions", "0.5,0.3")):
        refocus(photo, model_folder, "--focus", focus, "--bokeh", "9", "--output", str(tmp_path / f"{name}.png"))
    first, second = (np.asarray(Image.open(tmp_path / f"{name}.png")) for name in ("pixels", "fractions"))
    assert np.array_equal(first, second)


def test_a_depth_map_is_read(photo: Path, model_folder: Path, tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 90 * 130).reshape(90, 130).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "depth.png")
    common = ("--focus", "0.5,0.5", "--bokeh", "9", "--output")
    refocus(photo, model_folder, *common, str(tmp_path / "with.png"), "--depth", str(tmp_path / "depth.png"))
    refocus(photo, model_folder, *common, str(tmp_path / "without.png"), "--depth", "none")
    assert not np.array_equal(
        np.asarray(Image.open(tmp_path / "with.png")), np.asarray(Image.open(tmp_path / "without.png"))
    )


@pytest.mark.parametrize("name", ["bytes.png", "words.png", "floats.tif", "grey_as_rgb.png"])
def test_a_map_means_what_it_means_to_the_pipeline(photo: Path, model_folder: Path, tmp_path: Path, name: str) -> None:
    ramp = np.linspace(0.3, 0.6, 90 * 130, dtype=np.float32).reshape(90, 130)
    stored = {"bytes.png": np.uint8(ramp * 255), "words.png": np.uint16(ramp * 65535), "floats.tif": ramp}
    stored["grey_as_rgb.png"] = np.repeat(stored["bytes.png"][..., None], 3, 2)
    Image.fromarray(stored[name]).save(tmp_path / name)
    output = tmp_path / "result.png"
    refocus(photo, model_folder, "--focus", "0.5,0.5", "--bokeh", "9", "--depth", str(tmp_path / name),
            "--output", str(output))  # fmt: skip
    pipeline = RefocusPipeline.from_pretrained(model_folder)
    called = pipeline(open_photo(photo), Camera((0.5, 0.5), 9), Image.open(tmp_path / name), steps=2).images[0]
    assert np.array_equal(np.asarray(Image.open(output)), np.asarray(called))


def tell_lens(photo: Path, **said: float) -> None:
    exif = Image.Exif()
    exif[ExifTags.IFD.Exif] = {ExifTags.Base[name]: number for name, number in said.items()}
    with Image.open(photo) as image:
        image.load()
        image.save(photo, exif=exif)


def test_the_lens_that_took_the_photo_is_read_from_exif(photo: Path, model_folder: Path, tmp_path: Path) -> None:
    tell_lens(photo, FNumber=1.8, FocalLength=50.0, SubjectDistance=2.0, FocalLengthIn35mmFilm=75)
    ramp = np.linspace(0, 65535, 90 * 130).reshape(90, 130).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "depth.png")
    for name, told in (("read.png", "exif"), ("told.png", "exif,1.25")):
        refocus(photo, model_folder, "--focus", "0.5,0.5", "--bokeh", "9", "--depth", str(tmp_path / "depth.png"),
                "--taken-with", told, "--depth-range", "0.8,inf", "--output", str(tmp_path / name))  # fmt: skip
    lenses = [
        json.loads(Image.open(tmp_path / name).info["diffcam"])["taken_with"] for name in ("read.png", "told.png")
    ]
    assert [lens["focus_distance"] for lens in lenses] == [2.0, 1.25]
    assert [lens["f_number"] for lens in lenses] == [1.8, 1.8]


def test_a_lens_that_exif_does_not_tell_ends_in_one_line(
    photo: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tell_lens(photo, FNumber=1.8, FocalLength=50.0, FocalLengthIn35mmFilm=75)
    request = (str(photo), "--focus", "0.5,0.5", "--bokeh", "5", "--depth-range", "1,8", "--taken-with", "exif")
    said = complaint(capsys, monkeypatch, *request)
    assert "holiday.jpg: EXIF has no SubjectDistance; give the lens with" in said
    assert "--taken-with exif,METRES" in said


def test_depth_is_inverted_and_holes_are_filled_where_asked(photo: Path, model_folder: Path, tmp_path: Path) -> None:
    near = 1 + np.arange(130, dtype=np.float32)[None].repeat(90, 0)
    np.save(tmp_path / "disparity.npy", near)
    np.save(tmp_path / "depth.npy", np.where(near == near[0, 7], np.nan, 1 / near))
    common = ("--focus", "0.5,0.5", "--bokeh", "9", "--output")
    refocus(photo, model_folder, *common, str(tmp_path / "a.png"), "--depth", str(tmp_path / "disparity.npy"))
    refocus(photo, model_folder, *common, str(tmp_path / "b.png"), "--depth", str(tmp_path / "depth.npy"),
            "--inverse", "--fill-holes")  # fmt: skip
    first, second = (np.asarray(Image.open(tmp_path / name)).astype(int) for name in ("a.png", "b.png"))
    assert np.abs(first - second).mean() < 1  # one column of 130 differs


def test_a_see_through_png_stays_see_through(tmp_path: Path, model_folder: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 4), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "logo.png")
    refocus(tmp_path / "logo.png", model_folder, "--focus", "0.5,0.5", "--bokeh", "9", "--depth", "none")
    result = np.asarray(Image.open(tmp_path / "logo-refocused.png"))
    assert np.array_equal(result[..., 3], pixels[..., 3])


def test_one_pixel_is_refocused(tmp_path: Path, model_folder: Path) -> None:
    Image.new("RGB", (1, 1), (10, 200, 30)).save(tmp_path / "dot.png")
    refocus(tmp_path / "dot.png", model_folder, "--focus", "0.5,0.5", "--bokeh", "9", "--depth", "none")
    assert Image.open(tmp_path / "dot-refocused.png").size == (1, 1)


LENS = ("--focus", "0.5,0.5", "--bokeh", "5", "--taken-with")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--focus", "1.2,0.5", "--bokeh", "5"], "focus must lie inside the image"),
        (["--focus", "-0.1,0.5", "--bokeh", "5"], "focus must lie inside the image"),
        (["--focus", "-20,-30", "--bokeh", "5"], "focus must lie inside the image"),
        (["--focus", "500,20", "--bokeh", "5"], "outside the image of 130x90 pixels"),
        (["--focus", "middle", "--bokeh", "5"], "must be two numbers"),
        (["--focus", "0.5,nan", "--bokeh", "5"], "focus must lie inside the image"),
        (["--focus", "0.5,0.5", "--bokeh", "99"], "bokeh must lie in"),
        (["--focus", "0.5,0.5", "--bokeh", "nan"], "bokeh must lie in"),
        (["--focus", "0.5,0.5", "--bokeh", "5", "--taken-with", "0.5,0.5"], "--taken-with 0.5,0.5: must be three"),
        (["--focus", "0.5,0.5", "--bokeh", "5", "--taken-with", "exif"], "--taken-with exif: needs --depth-range"),
        ([*LENS, "exif", "--depth-range", "8,1"], "--depth-range 8,1: must be the nearer and the farther"),
        ([*LENS, "exif", "--depth-range", "8"], "--depth-range 8: must be two depths"),
        ([*LENS, "exif", "--depth-range", "1,8", "--depth", "none"], "--taken-with exif: needs a map"),
        ([*LENS, "exif", "--depth-range", "1,8"], "holiday.jpg: EXIF has no FNumber"),
        ([*LENS, "exif,far", "--depth-range", "1,8"], "--taken-with exif,far: must be exif,METRES"),
        ([*LENS, "exifs", "--depth-range", "1,8"], "--taken-with exifs: must be exif, or"),
        ([*LENS, "0.5,0.5,3", "--depth-range", "1,8"], "--depth-range 1,8: is for a lens alone"),
        (["--focus", "0.5,0.5", "--bokeh", "5", "--steps", "0"], "--steps 0"),
        (["--focus", "0.5,0.5", "--bokeh", "5", "--steps", "101"], "--steps 101: must lie in 1 to 100"),
        (["--focus", "0.5,0.5", "--bokeh", "5", "--depth", "none.png"], "none.png"),
        (["--focus", "0.5,0.5", "--bokeh", "5", "--output", "out.bmp"], "cannot write this format"),
        (["--focus", "0.5,0.5", "--bokeh", "5", "--model", "no-such-model"], "no such model"),
    ],
)
def test_bad_requests_end_in_one_line(
    photo: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert message in complaint(capsys, monkeypatch, str(photo), *options)
    assert sorted(path.name for path in photo.parent.iterdir()) == ["holiday.jpg"]


def test_bad_photos_end_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "notes.jpg").write_text("buy milk")
    for name, message in (("notes.jpg", "not an image"), ("absent.jpg", "cannot be opened")):
        text = complaint(capsys, monkeypatch, str(tmp_path / name), "--focus", "0.5,0.5", "--bokeh", "5")
        assert name in text
        assert message in text


def test_nothing_is_overwritten_without_force(
    photo: Path, model_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    output = photo.with_name("holiday-refocused.jpg")
    output.write_bytes(b"precious")
    arguments = ["--focus", "0.5,0.5", "--bokeh", "5", "--depth", "none"]
    assert "exists already" in complaint(capsys, monkeypatch, str(photo), *arguments)
    assert output.read_bytes() == b"precious"
    assert refocus(photo, model_folder, *arguments, "--force") == 0
    assert Image.open(output).size == (130, 90)


def test_the_photo_itself_is_never_replaced(
    photo: Path, model_folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = photo.read_bytes()
    (photo.parent / "other").mkdir()
    link = photo.with_name("link.jpg")
    link.symlink_to(photo)
    for output in (photo, photo.parent / "other" / ".." / photo.name, link):
        arguments = ["--focus", "0.5,0.5", "--bokeh", "5", "--output", str(output), "--force"]
        assert "is the photo itself" in complaint(capsys, monkeypatch, str(photo), *arguments)
    assert photo.read_bytes() == before


def test_pixels_name_their_centres() -> None:
    assert focus_fractions((64, 26), 90, 130) == (64.5 / 130, 26.5 / 90)
    assert focus_fractions((1.0, 1.0), 90, 130) == (1.0, 1.0)
    with pytest.raises(ValueError, match="inside the image"):
        focus_fractions((0.5, 30.0), 90, 130)  # one fraction and one pixel
