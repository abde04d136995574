"""The pipeline and its photo session, with the model that comes with the package."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

import diffcam
from diffcam.camera import Aperture, Camera
from diffcam.errors import DiffcamError
from diffcam.pipeline import RefocusPipeline


@pytest.fixture(scope="module")
def pipeline() -> RefocusPipeline:
    """The packaged model, solving small for speed."""
    pipe = diffcam.RefocusPipeline.from_pretrained("diffcam-tiny")
    pipe.settings = type(pipe.settings)(**{**vars(pipe.settings), "trained_size": 64})
    return pipe


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return Image.fromarray(data.astronaut()).resize((150, 100))


def _ramp(width: int, height: int) -> np.ndarray:
    return np.tile(np.linspace(0, 1, width, dtype=np.float32), (height, 1))


def test_pil_in_pil_out_with_a_record(pipeline: RefocusPipeline, photo: Image.Image) -> None:
    camera = Camera((0.42, 0.61), 12.0)
    image = pipeline(photo, camera, depth=_ramp(150, 100), steps=2, seed=5).images[0]
    assert (image.size, image.mode) == (photo.size, "RGB")
    record = json.loads(image.info["diffcam"])
    assert record == {"focus": [0.42, 0.61], "bokeh": 12.0, "model": "diffcam-tiny", "seed": 5, "steps": 2}
    again = pipeline(photo, camera, depth=_ramp(150, 100), steps=2, seed=5).images[0]
    assert np.array_equal(np.asarray(image), np.asarray(again))


def test_a_session_gives_what_the_pipeline_gives(pipeline: RefocusPipeline, photo: Image.Image) -> None:
    session = pipeline.open(photo, _ramp(150, 100))
    for camera in (Camera((0.2, 0.5), 10.0), Camera((0.8, 0.5), 3.0)):
        clicked = session.refocus(camera, steps=1, seed=1)
        called = pipeline(photo, camera, _ramp(150, 100), steps=1, seed=1).images[0]
        assert np.array_equal(np.asarray(clicked), np.asarray(called))


def test_a_sweep_is_one_batch_of_the_single_results(pipeline: RefocusPipeline, photo: Image.Image) -> None:
    cameras = [Camera((0.5, 0.5), level) for level in (0.0, 8.0, 16.0)]
    swept = pipeline(photo, cameras, depth="none", steps=2, output_type="pt").images
    assert swept.shape == (3, 3, 100, 150)
    for one, camera in zip(swept, cameras, strict=True):
        alone = pipeline(photo, camera, depth="none", steps=2, output_type="pt").images[0]
        torch.testing.assert_close(one, alone, atol=1e-4, rtol=0)


def test_steps_are_reported_and_generators_taken(pipeline: RefocusPipeline, photo: Image.Image) -> None:
    seen: list[int] = []
    pipeline(
        photo, Camera((0.5, 0.5), 4.0), "none", steps=3,
        generator=torch.Generator().manual_seed(0), callback_on_step_end=lambda step, latents: seen.append(step),
    )  # fmt: skip
    assert seen == [0, 1, 2]


def test_transparency_stays(pipeline: RefocusPipeline, photo: Image.Image) -> None:
    transparent = photo.convert("RGBA")
    alpha = Image.fromarray((_ramp(150, 100) * 255).astype(np.uint8))
    transparent.putalpha(alpha)
    result = pipeline(transparent, Camera((0.5, 0.5), 4.0), "none", steps=1).images[0]
    assert result.mode == "RGBA"
    assert np.array_equal(np.asarray(result.getchannel("A")), np.asarray(alpha))


def test_depth_is_used_as_given(pipeline: RefocusPipeline, photo: Image.Image) -> None:
    ramp = _ramp(150, 100)
    as_image = Image.fromarray((ramp * 65535).astype(np.uint16))
    frames = [pipeline.open(photo, depth).disparity for depth in (ramp, torch.from_numpy(ramp)[None], as_image)]
    for frame in frames[1:]:
        torch.testing.assert_close(frame, frames[0], atol=1e-3, rtol=0)
    assert pipeline.open(photo, "none").disparity.abs().max() == 0
    narrow = np.uint8(60 + 40 * ramp)  # neither stretched to 0 and 1 nor, in wider integers, taken for nothing
    for depth in (narrow, Image.fromarray(narrow).convert("RGB"), (narrow.astype(np.int64) * 257)):
        given = pipeline.open(photo, depth).disparity
        assert (given.min().item(), given.max().item()) == pytest.approx((60 / 255, 100 / 255), abs=3e-3)


def test_a_map_of_one_pixel_is_read(pipeline: RefocusPipeline) -> None:
    dot = Image.new("RGB", (1, 1), (51, 51, 51))
    for depth in (dot, dot.convert("L"), dot.convert("RGBA"), np.full((1, 1), 0.2), torch.full((1, 1, 1), 0.2)):
        assert pipeline.open(dot, depth).disparity.unique().tolist() == pytest.approx([0.2])


@pytest.mark.parametrize(
    ("depth", "message"),
    [
        (np.full((100, 150), np.nan), "finite"),
        (_ramp(150, 100) * 3, r"\[0, 1\]"),
        (_ramp(100, 100), "same frame"),
        (np.random.default_rng(0).random((100, 150, 3)), "single channel"),
        ("deep", "'none'"),
    ],
)
def test_bad_depth_is_refused(pipeline: RefocusPipeline, photo: Image.Image, depth: object, message: str) -> None:
    with pytest.raises(DiffcamError, match=message):
        pipeline.open(photo, depth)  # type: ignore[arg-type]


def test_without_depth_a_notice_is_given(
    pipeline: RefocusPipeline, photo: Image.Image, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        pipeline.open(photo)
    assert "without depth" in caplog.text


def test_an_opening_that_the_model_cannot_draw_is_told_of_once(
    pipeline: RefocusPipeline, photo: Image.Image, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        pipeline(photo, [Camera((0.5, 0.5), 4.0)] * 2, "none", steps=1)
        assert caplog.text == ""
        pipeline(photo, [Camera((0.5, 0.5), 4.0, Aperture(blades=6))] * 2, "none", steps=1)
    (line,) = caplog.messages
    assert "aperture is left out" in line


def test_an_estimator_is_asked_where_no_map_is_given(photo: Image.Image) -> None:
    pipe = RefocusPipeline.from_pretrained(
        "diffcam-tiny", depth_estimator=lambda image_B3HW: image_B3HW[:, :1] * 0 + 0.25
    )
    assert pipe.open(photo).disparity.mean().item() == pytest.approx(0.25)
    assert pipe.open(photo, "none").disparity.unique().tolist() == [0.0]


def test_models_are_saved_and_come_back(pipeline: RefocusPipeline, photo: Image.Image, tmp_path: Path) -> None:
    pipeline.save_pretrained(tmp_path / "mine")
    again = RefocusPipeline.from_pretrained(tmp_path / "mine")
    camera = Camera((0.5, 0.5), 9.0)
    images = [pipe(photo, camera, "none", steps=1, output_type="pt").images for pipe in (pipeline, again)]
    torch.testing.assert_close(images[0], images[1])
    with pytest.raises(DiffcamError, match="no such model"):
        RefocusPipeline.from_pretrained(tmp_path / "yours")


def test_tiny_and_odd_photos(pipeline: RefocusPipeline) -> None:
    for size in ((1, 1), (3, 40), (97, 61)):
        result = pipeline(Image.new("RGB", size, (90, 120, 30)), Camera((0.5, 0.5), 5.0), "none", steps=1).images[0]
        assert result.size == size


def test_habits_of_diffusers(pipeline: RefocusPipeline) -> None:
    assert pipeline.device == torch.device("cpu")
    assert pipeline.to("cpu") is pipeline
    assert pipeline.dtype == torch.float32


def test_offloaded_parts_take_turns_on_the_device(photo: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = RefocusPipeline.from_pretrained("diffcam-tiny")
    pipe.settings = type(pipe.settings)(**{**vars(pipe.settings), "trained_size": 64})
    expected = pipe(photo, Camera((0.5, 0.5), 4.0), "none", steps=1, output_type="pt").images
    moves: list[str] = []
    for part in ("codec", "transformer"):
        module = getattr(pipe.model, part)
        move = module.to
        monkeypatch.setattr(
            module, "to", lambda device, name=part, move=move: moves.append(f"{name} {device}") or move("cpu")
        )
    pipe.enable_model_cpu_offload(device="cpu:0")
    result = pipe(photo, Camera((0.5, 0.5), 4.0), "none", steps=1, output_type="pt").images
    assert torch.equal(result, expected)
    codec, transformer = ["transformer cpu", "codec cpu:0"], ["codec cpu", "transformer cpu:0"]
    assert moves == [*codec, *transformer, *transformer, *codec]
