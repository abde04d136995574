"""The pipeline and its photo session, with the model that comes with the package."""

from __future__ import annotations

import json
import logging
import math
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from PIL import ExifTags, Image
from safetensors.torch import load_file
from skimage import data

import diffcam
from diffcam.camera import Aperture, Camera, ThinLens
from diffcam.errors import DiffcamError
from diffcam.functional.flow import sampling_timesteps
from diffcam.functional.frame import resize
from diffcam.models import (
    LoRA,
    RefocusModel,
    RefocusTransformer,
    load_flux_codec,
    load_flux_transformer,
    load_preview_codec,
)
from diffcam.models.adapters import trained_parameters
from diffcam.models.checkpoint import save_adapter
from diffcam.pipeline import RefocusPipeline
from tests.flux import write_flux_folder


@pytest.fixture(scope="module")
def pipeline() -> RefocusPipeline:
    """The packaged model, solving small for speed."""
    pipe = diffcam.RefocusPipeline.from_pretrained("diffcam-tiny")
    pipe.model.short_side = 64
    return pipe


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return Image.fromarray(data.astronaut()).resize((150, 100))


@pytest.fixture(scope="module")
def flux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_flux_folder(tmp_path_factory.mktemp("base") / "flux")


@pytest.fixture(scope="module")
def adapter(flux: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter of that base that does something."""
    base = load_flux_transformer(str(flux), "float32")
    model = RefocusModel(load_flux_codec(str(flux), "float32"), RefocusTransformer(base), short_side=32)
    LoRA(4).prepare(model.transformer)
    for name, parameter in trained_parameters(model).items():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.2, generator=torch.Generator().manual_seed(len(name)))
    folder = tmp_path_factory.mktemp("adapter") / "export"
    save_adapter(model, folder, base=str(flux))
    return folder


def _ramp(width: int, height: int) -> np.ndarray:
    return np.tile(np.linspace(0, 1, width, dtype=np.float32), (height, 1))


def test_pil_in_pil_out_with_a_record(pipeline: RefocusPipeline, photo: Image.Image) -> None:
    camera = Camera((0.42, 0.61), 12.0)
    image = pipeline(photo, camera, depth=_ramp(150, 100), steps=2, seed=5).images[0]
    assert (image.size, image.mode) == (photo.size, "RGB")
    record = json.loads(image.info["diffcam"])
    assert 0 <= record.pop("kept") <= 1
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


def test_steps_call_back_as_in_diffusers_and_generators_are_taken(
    pipeline: RefocusPipeline, photo: Image.Image
) -> None:
    seen: list[tuple[int, float]] = []

    def stop_at_grey(pipe: Any, step: int, timestep: torch.Tensor, kwargs: dict[str, Any]) -> dict[str, Any]:
        assert pipe is pipeline
        seen.append((step, float(timestep)))
        return {"latents": torch.zeros_like(kwargs["latents"])} if step == 2 else kwargs

    result = pipeline(
        photo, Camera((0.5, 0.5), 4.0), "none", steps=3, generator=torch.Generator().manual_seed(0),
        callback_on_step_end=stop_at_grey, output_type="latent",
    ).images  # fmt: skip
    assert [step for step, _ in seen] == [0, 1, 2]
    assert [timestep for _, timestep in seen] == pytest.approx(sampling_timesteps(3, pipeline.model.shift)[:3].tolist())
    assert result.abs().max() == 0


def test_every_output_type_is_the_same_picture(pipeline: RefocusPipeline, photo: Image.Image) -> None:
    camera = Camera((0.5, 0.5), 4.0)
    pil, array, tensor, latents = (
        pipeline(photo, camera, "none", steps=1, output_type=kind).images for kind in ("pil", "np", "pt", "latent")
    )
    assert np.array_equal(array, tensor.permute(0, 2, 3, 1).numpy())
    assert np.array_equal(np.asarray(pil[0]), (array[0] * 255).round().astype(np.uint8))
    decoded = pipeline.open(photo, "none").frame.from_model(pipeline.model.decode(latents))
    assert (resize(tensor, decoded.shape[-2:]) - decoded).abs().mean() < 0.02


def test_what_cannot_be_asked_for_is_refused_in_one_line(pipeline: RefocusPipeline, photo: Image.Image) -> None:
    camera = Camera((0.5, 0.5), 4.0)
    with pytest.raises(DiffcamError, match="output_type bogus: must be one of pil, np, pt, latent"):
        pipeline(photo, camera, "none", output_type="bogus")  # type: ignore[arg-type]
    with pytest.raises(DiffcamError, match="no camera to refocus for"):
        pipeline(photo, [], "none")


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
    model_folder: Path, photo: Image.Image, caplog: pytest.LogCaptureFixture
) -> None:
    pipe = RefocusPipeline.from_pretrained(model_folder)
    with caplog.at_level(logging.WARNING):
        pipe(photo, [Camera((0.5, 0.5), 4.0)] * 2, "none", steps=1)
        assert caplog.text == ""
        pipe(photo, [Camera((0.5, 0.5), 4.0, Aperture(blades=6))] * 2, "none", steps=1)
    (line,) = caplog.messages
    assert "aperture is left out" in line


def test_the_packaged_model_draws_the_camera_s_opening(
    pipeline: RefocusPipeline, photo: Image.Image, caplog: pytest.LogCaptureFixture
) -> None:
    disparity = np.tile(np.linspace(0, 1, 150, dtype=np.float32), (100, 1))
    round_, shaped = (Camera((0.1, 0.5), 60.0, aperture) for aperture in (Aperture(), Aperture(blades=3)))
    with caplog.at_level(logging.WARNING):
        pictures = pipeline(photo, [round_, shaped], disparity, output_type="pt").images
    assert caplog.text == ""
    assert (pictures[0] - pictures[1]).abs().max() > 0.03


def test_what_took_the_photo_can_be_told(model_folder: Path, photo: Image.Image) -> None:
    """As a camera or as a lens; radii are those of the photo's own pixels: 100 on the short side, level 12 of 512."""
    pipe = RefocusPipeline.from_pretrained(model_folder)
    disparity = np.tile(np.linspace(0, 1, 150, dtype=np.float32), (100, 1))
    camera = Camera((0.3, 0.5), 12.0)
    told = pipe.open(photo, disparity, taken_with=camera)
    expected = camera.radius_per_disparity(100, 150) * (torch.from_numpy(disparity) - disparity[0, 45])
    assert (told.own_radius[0, 0] - expected).abs().max() < 0.05
    lens = ThinLens.of_bokeh(12.0, float(disparity[0, 45]), near=1.0, far=8.0, image_distance=50.0)
    by_lens = pipe.open(photo, disparity, taken_with=lens, depth_range=(1.0, 8.0))
    assert (by_lens.own_radius - told.own_radius).abs().max() < 0.05
    assert not pipe.open(photo, disparity).own_radius.any()  # this model does not look for it


def test_exif_tells_the_lens_that_took_the_photo(model_folder: Path, photo: Image.Image, tmp_path: Path) -> None:
    """Radii in the photo's own pixels are those of the textbooks' circle of confusion, at crop factor 1.5."""
    exif = Image.Exif()
    said = {"FNumber": 2.0, "FocalLength": 50.0, "SubjectDistance": 2.0, "FocalLengthIn35mmFilm": 75}
    exif[ExifTags.IFD.Exif] = {ExifTags.Base[name]: number for name, number in said.items()}
    photo.save(tmp_path / "photo.jpg", exif=exif)
    disparity = np.tile(np.linspace(0, 1, 150, dtype=np.float32), (100, 1))
    pipe = RefocusPipeline.from_pretrained(model_folder)
    session = pipe.open(tmp_path / "photo.jpg", disparity, taken_with="exif", depth_range=(1.0, 8.0))
    depth = 1000 / (1 / 8 + disparity.astype(np.float64) * (1 - 1 / 8))
    circle = 50**2 / (2 * (2000 - 50)) * (2000 - depth) / depth  # mm, positive in front of the focus plane
    expected = circle / 2 * np.hypot(150, 100) / (43.27 / 1.5)
    assert np.abs(session.own_radius[0, 0].numpy() - expected).max() < 0.02 * np.abs(expected).max()
    record = json.loads(session.refocus(Camera((0.5, 0.5), 4.0), steps=1).info["diffcam"])
    assert (record["taken_with"]["f_number"], record["taken_with"]["focus_distance"]) == (2.0, 2.0)
    assert record["depth_range"] == [1.0, 8.0]
    with pytest.raises(DiffcamError, match="EXIF has no FNumber"):
        pipe.open(photo, disparity, taken_with="exif", depth_range=(1.0, 8.0))
    with pytest.raises(DiffcamError, match="None or 'exif', got 'EXIF'"):
        pipe.open(photo, disparity, taken_with="EXIF", depth_range=(1.0, 8.0))


def test_a_record_with_infinite_distances_is_json(model_folder: Path, photo: Image.Image) -> None:
    lens, depths = ThinLens(50.0, 2.0, math.inf), (1.0, math.inf)
    pipe = RefocusPipeline.from_pretrained(model_folder)
    session = pipe.open(photo, np.full((100, 150), 0.5, np.float32), taken_with=lens, depth_range=depths)
    written = session.refocus(Camera((0.5, 0.5), 4.0), steps=1).info["diffcam"]

    def refused(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    record = json.loads(written, parse_constant=refused)
    assert ThinLens(**{name: float(value) for name, value in record["taken_with"].items()}) == lens
    assert tuple(map(float, record["depth_range"])) == depths


def test_the_share_of_pixels_that_are_the_photo_s_own_is_told(model_folder: Path, photo: Image.Image) -> None:
    session = RefocusPipeline.from_pretrained(model_folder).open(photo, "none", taken_with=None)
    camera, changed = Camera((0.5, 0.5), 8.0), session.photo.tensor()[None].clone()
    changed[..., :30] += torch.where(changed[..., :30] > 0.5, -0.1, 0.1)
    (picture,) = session.pictures(changed, [camera], 2, 0)
    assert json.loads(picture.info["diffcam"])["kept"] == pytest.approx(1 - 30 / 150, abs=1e-4)


def test_what_took_the_photo_needs_depth(model_folder: Path, photo: Image.Image) -> None:
    pipe = RefocusPipeline.from_pretrained(model_folder)
    with pytest.raises(DiffcamError, match="needs a depth map"):
        pipe.open(photo, "none", taken_with=Camera((0.5, 0.5), 3.0))
    with pytest.raises(DiffcamError, match="depth_range"):
        pipe.open(photo, np.eye(100, 150, dtype=np.float32), taken_with=ThinLens(50, 1.8, 2.0))


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
    pipe.model.short_side = 64
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
    assert moves == [*codec, *transformer, *codec, *transformer, *codec]


def test_an_adapter_is_had_from_the_hub_by_name(
    adapter: Path, photo: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the hub's local cache, as it lies there after a download; the rest of the repository is not asked for."""
    cached = tmp_path / "models--someone--refocus"
    shutil.copytree(adapter, cached / "snapshots" / "1234")
    (cached / "refs").mkdir()
    (cached / "refs" / "main").write_text("1234")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    camera = Camera((0.5, 0.5), 8.0)
    pipes = [RefocusPipeline.from_pretrained(adapter=one, dtype="float32") for one in (adapter, "someone/refocus")]
    here, there = (pipe(photo, camera, "none", steps=1, output_type="pt").images for pipe in pipes)
    assert torch.equal(here, there)
    with pytest.raises(DiffcamError, match=r"someone/else: no such folder.* the hub cannot be reached"):
        RefocusPipeline.from_pretrained(adapter="someone/else")
    with pytest.raises(DiffcamError, match="missing: no such folder, and no name that the hub could know"):
        RefocusPipeline.from_pretrained(adapter=tmp_path / "missing")


def test_another_codec_serves_in_place_of_the_bases_own(
    adapter: Path, photo: Image.Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tiny autoencoder, as for previews; the base's own is not even read."""
    torch.manual_seed(0)
    AutoencoderTiny(
        encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8), latent_channels=4,
        num_encoder_blocks=(1, 1), num_decoder_blocks=(1, 1),
    ).save_pretrained(tmp_path)  # fmt: skip
    codec = load_preview_codec(str(tmp_path))
    monkeypatch.setattr("diffcam.models.loading.load_flux_codec", None)
    pipe = RefocusPipeline.from_pretrained(adapter=adapter, dtype="float32", codec=codec)
    assert pipe.model.codec is codec
    assert pipe(photo, Camera((0.5, 0.5), 8.0), "none", steps=1).images[0].size == photo.size


def test_quantisation_reaches_the_base(adapter: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(
        "diffcam.models.loading.load_flux_transformer",
        lambda path, dtype, quantization: asked.append(quantization) or load_flux_transformer(path, dtype),
    )
    RefocusPipeline.from_pretrained(adapter=adapter, quantization="4bit")
    assert asked == ["4bit"]


def test_data_types_are_given_as_torch_has_them(adapter: Path) -> None:
    assert RefocusPipeline.from_pretrained(adapter=adapter, dtype=torch.float32).dtype == torch.float32
    assert RefocusPipeline.from_pretrained(adapter=adapter).dtype == torch.bfloat16
    with pytest.raises(DiffcamError, match=r"dtype torch\.float16: must be bfloat16 or float32"):
        RefocusPipeline.from_pretrained(adapter=adapter, dtype=torch.float16)  # type: ignore[arg-type]


def test_a_flux_base_is_converted_between_the_types_it_runs_in(adapter: Path, photo: Image.Image) -> None:
    pipe = RefocusPipeline.from_pretrained(adapter=adapter, torch_dtype="float32")
    camera = Camera((0.5, 0.5), 8.0)
    before = pipe(photo, camera, "none", steps=1, output_type="pt").images
    with pytest.raises(DiffcamError, match=r"dtype torch\.float16: must be bfloat16 or float32"):
        pipe.to(torch.float16)
    assert pipe.to(torch.bfloat16).dtype == torch.bfloat16
    after = pipe(photo, camera, "none", steps=1, output_type="pt").images
    assert 0 < (after - before).abs().mean() < 0.02
    assert pipe.to(torch.float32).dtype == torch.float32


def test_a_base_without_an_adapter_is_told_so(flux: Path) -> None:
    for source, message in ((flux, "holds no diffcam model"), ("black-forest-labs/FLUX.1-dev", "no such model")):
        with pytest.raises(DiffcamError, match=rf"{message}; give .* or a FLUX base and its adapter"):
            RefocusPipeline.from_pretrained(source)


def test_adapters_are_fused_saved_and_unfused(adapter: Path, photo: Image.Image, tmp_path: Path) -> None:
    pipe = RefocusPipeline.from_pretrained(adapter=adapter, dtype="float32")

    def refocused() -> torch.Tensor:
        result: Any = pipe(photo, Camera((0.5, 0.5), 8.0), "none", steps=1, output_type="latent").images
        return result

    layer = pipe.model.transformer.base.single_transformer_blocks[0].proj_mlp.base_layer
    expected, before = refocused(), layer.weight.clone()
    pipe.fuse_lora()
    assert not torch.allclose(layer.weight, before, atol=1e-3)
    torch.testing.assert_close(refocused(), expected, rtol=1e-3, atol=1e-3)
    pipe.save_pretrained(tmp_path / "saved")
    for name, value in load_file(adapter / "pytorch_lora_weights.safetensors").items():
        assert torch.equal(load_file(tmp_path / "saved" / "pytorch_lora_weights.safetensors")[name], value), name
    pipe.unfuse_lora()
    torch.testing.assert_close(layer.weight, before)
    torch.testing.assert_close(refocused(), expected, rtol=1e-3, atol=1e-3)


def test_whole_models_have_nothing_to_fuse(pipeline: RefocusPipeline) -> None:
    for fuse in (pipeline.fuse_lora, pipeline.unfuse_lora):
        with pytest.raises(DiffcamError, match="diffcam-tiny: has no adapter to"):
            fuse()
