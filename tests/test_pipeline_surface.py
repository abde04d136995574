"""RefocusPipeline as somebody meets it who knows diffusers: every public name, and the calls that are tried first."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from diffcam import Camera, DiffcamError, RefocusPipeline
from tests.hub_server import local_hub

CAMERA = Camera((0.5, 0.5), 6.0)
needs_no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without a GPU")


@pytest.fixture
def pipe(model_folder: Path) -> RefocusPipeline:
    return RefocusPipeline.from_pretrained(model_folder)


@pytest.fixture
def photo() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))


def pixels(result: Any) -> list[np.ndarray]:
    return [np.asarray(image) for image in result.images]


def test_every_public_name_works(
    pipe: RefocusPipeline, photo: Image.Image, model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def push() -> None:
        with local_hub(monkeypatch, tmp_path / "cache") as hub:
            with pytest.raises(DiffcamError, match=r"someone/refocus: not uploaded: the hub answers: .*401"):
                pipe.push_to_hub("someone/refocus", token="hf_wrong")
            address = pipe.push_to_hub("someone/refocus", "As trained", private=True, token="hf_test")
            assert address.startswith(f"{hub.url}/someone/refocus/commit/")
            assert (hub.summaries, hub.private) == (["As trained"], {"someone/refocus": True})
            there = RefocusPipeline.from_pretrained("someone/refocus")
            assert np.array_equal(pixels(there(photo, CAMERA, "none")), pixels(pipe(photo, CAMERA, "none")))

    def refuses(call: Callable[[], Any]) -> Callable[[], None]:
        def check() -> None:
            with pytest.raises(DiffcamError, match="has no adapter to fuse"):
                call()

        return check

    load = RefocusPipeline.from_pretrained
    calls: dict[str, Callable[[], Any]] = {
        "components": lambda: RefocusPipeline(**pipe.components)(photo, CAMERA, "none"),
        "device": lambda: pipe.device == torch.device("cpu"),
        "dtype": lambda: pipe.dtype == torch.float32,
        "enable_model_cpu_offload": lambda: load(model_folder).enable_model_cpu_offload(device="cpu"),
        "from_pretrained": lambda: load(model_folder),
        "fuse_lora": refuses(pipe.fuse_lora),
        "open": lambda: pipe.open(photo, "none").refocus(CAMERA),
        "push_to_hub": push,
        "save_pretrained": lambda: pipe.save_pretrained(tmp_path / "saved"),
        "set_progress_bar_config": lambda: pipe.set_progress_bar_config(disable=True),
        "to": lambda: pipe.to("cpu"),
        "unfuse_lora": refuses(pipe.unfuse_lora),
    }
    assert set(calls) == {name for name in dir(RefocusPipeline) if not name.startswith("_")}
    for name, call in calls.items():
        assert call() is not False, name


def test_what_is_tried_first_works(
    pipe: RefocusPipeline, photo: Image.Image, model_folder: Path, tmp_path: Path
) -> None:
    (expected,) = pixels(pipe(photo, CAMERA, "none", steps=2))
    photo.save(tmp_path / "photo.png")
    tensor = torch.from_numpy(np.array(photo)).permute(2, 0, 1)
    load = RefocusPipeline.from_pretrained
    same: list[Callable[[], Any]] = [
        lambda: load(model_folder, torch_dtype=torch.float32)(photo, CAMERA, "none", steps=2),
        lambda: load(model_folder, device_map="auto")(photo, CAMERA, "none", steps=2),
        lambda: load(model_folder, device_map="cpu").to("cpu", torch.float32)(photo, CAMERA, "none", steps=2),
        lambda: load(str(model_folder)).to(device="cpu", dtype=torch.float32)(photo, CAMERA, "none", steps=2),
        lambda: pipe(image=photo, camera=CAMERA, depth="none", num_inference_steps=2),
        lambda: pipe(tmp_path / "photo.png", CAMERA, "none", steps=2),
        lambda: pipe(str(tmp_path / "photo.png"), CAMERA, "none", steps=2),
        lambda: pipe(np.array(photo), CAMERA, "none", steps=2),
        lambda: pipe(np.array(photo) / 255, CAMERA, "none", steps=2),
        lambda: pipe(tensor, CAMERA, "none", steps=2),
        lambda: pipe(tensor.float() / 255, CAMERA, "none", steps=2),
        lambda: pipe(tensor.permute(1, 2, 0), CAMERA, "none", steps=2),
        lambda: pipe(tensor[None], CAMERA, "none", steps=2),
        lambda: pipe([photo], CAMERA, "none", steps=2),
        lambda: pipe(photo, CAMERA, "none", steps=2, generator=torch.Generator().manual_seed(0)),
        lambda: pipe(photo, CAMERA, "none", steps=2, generator=[torch.Generator().manual_seed(0)]),
        lambda: RefocusPipeline(**pipe.components)(photo, CAMERA, "none", steps=2),
        lambda: pipe(
            photo, CAMERA, "none", steps=2, callback_on_step_end_tensor_inputs=[],
            callback_on_step_end=lambda pipe, step, timestep, given: given,
        ),
    ]  # fmt: skip
    for number, call in enumerate(same):
        assert np.array_equal(pixels(call())[0], expected), f"call {number}"
    (images,) = pipe(photo, CAMERA, "none", steps=2, return_dict=False)
    assert np.array_equal(np.asarray(images[0]), expected)


@pytest.mark.parametrize(
    ("message", "call"),
    [
        (r"dtype torch\.float16: must be float32", lambda p, i: p.to(torch.float16)),
        (
            r"dtype torch\.bfloat16: must be float32",
            lambda p, i: RefocusPipeline.from_pretrained(torch_dtype=torch.bfloat16),
        ),
        ("device abacus: cannot be used", lambda p, i: p.to("abacus")),
        ("device_map: a dict is no device", lambda p, i: RefocusPipeline.from_pretrained(device_map={"": 0})),
        ("photo and image are words for the same", lambda p, i: p(i, CAMERA, image=i)),
        ("steps and num_inference_steps are words", lambda p, i: p(i, CAMERA, steps=1, num_inference_steps=1)),
        ("dtype and torch_dtype", lambda p, i: RefocusPipeline.from_pretrained(dtype="float32", torch_dtype="float32")),
        ("a photo and a camera are needed", lambda p, i: p(i)),
        ("photo: cannot read a int", lambda p, i: p(7, CAMERA)),
        ("cannot be opened", lambda p, i: p("absent.jpg", CAMERA)),
        (r"an array of shape \(40, 60\)", lambda p, i: p(np.array(i)[..., 0], CAMERA)),
        (r"an array of float64; give uint8, or floats in \[0, 1\]", lambda p, i: p(np.array(i) / 1.0, CAMERA)),
        ("an array of int64", lambda p, i: p(np.array(i).astype(np.int64), CAMERA)),
        ("no 'prompt_embeds' here", lambda p, i: p(i, CAMERA, callback_on_step_end_tensor_inputs=["prompt_embeds"])),
        ("camera: 2 for 1 photos", lambda p, i: p([i], [CAMERA, CAMERA])),
        ("an empty list of photos", lambda p, i: p([], CAMERA)),
        ("different sizes do not stack", lambda p, i: p([i, i.resize((30, 30))], CAMERA, "none", output_type="np")),
        ("2 generators for 1 cameras", lambda p, i: p(i, CAMERA, "none", generator=[torch.Generator()] * 2)),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(
    pipe: RefocusPipeline, photo: Image.Image, message: str, call: Callable[[RefocusPipeline, Image.Image], Any]
) -> None:
    with pytest.raises(DiffcamError, match=message) as error:
        call(pipe, photo)
    assert "\n" not in str(error.value)
    assert pipe(photo, CAMERA, "none", steps=1).images[0].size == photo.size


@needs_no_gpu
@pytest.mark.parametrize("options", [{}, {"gpu_id": 0}, {"device": "cuda"}])
def test_offloading_without_a_gpu_changes_nothing(
    pipe: RefocusPipeline, photo: Image.Image, options: dict[str, Any]
) -> None:
    before = pixels(pipe(photo, CAMERA, "none"))
    with pytest.raises(DiffcamError, match=r"enable_model_cpu_offload: device cuda.*: cannot be used"):
        pipe.enable_model_cpu_offload(**options)
    with pytest.raises(DiffcamError, match="device cuda: cannot be used"):
        pipe.to("cuda")
    assert np.array_equal(pixels(pipe(photo, CAMERA, "none")), before)


def test_an_offloaded_pipeline_stays_where_it_is(pipe: RefocusPipeline) -> None:
    pipe.enable_model_cpu_offload(device="cpu")
    with pytest.raises(DiffcamError, match="take turns on cpu"):
        pipe.to("cpu")
    with pytest.raises(DiffcamError, match="take turns on cpu"):
        RefocusPipeline(**pipe.components).to("cpu")


def test_photos_of_a_list_are_solved_each_for_itself(pipe: RefocusPipeline, photo: Image.Image) -> None:
    photos, cameras = [photo, photo.resize((30, 50))], [CAMERA, Camera((0.2, 0.4), 9.0)]
    maps = ["none", np.tile(np.linspace(0, 1, 30, dtype=np.float32), (50, 1))]
    together = pipe(
        photos, cameras, maps, steps=1, generator=[torch.Generator().manual_seed(seed) for seed in (3, 4)]
    )  # fmt: skip
    alone = [
        pipe(*row, steps=1, seed=seed).images[0] for seed, row in enumerate(zip(photos, cameras, maps, strict=True), 3)
    ]
    for one, other in zip(together.images, alone, strict=True):
        assert np.array_equal(np.asarray(one), np.asarray(other))
    stacked = pipe([photo, photo], CAMERA, "none", steps=1, output_type="np").images
    assert stacked.shape == (2, 40, 60, 3)
    assert pipe([photo, photo], CAMERA, "none", steps=1, output_type="latent").images.shape[0] == 2


def test_each_camera_of_a_sweep_may_have_noise_of_its_own(pipe: RefocusPipeline, photo: Image.Image) -> None:
    draws = [torch.Generator().manual_seed(seed) for seed in (1, 2)]
    swept = pipe(photo, [CAMERA, CAMERA], "none", generator=draws, output_type="latent").images
    for seed, latents in zip((1, 2), swept, strict=True):
        alone = pipe(photo, CAMERA, "none", seed=seed, output_type="latent").images[0]
        torch.testing.assert_close(latents, alone, atol=1e-4, rtol=0)


def test_the_record_names_no_seed_that_was_not_used(pipe: RefocusPipeline, photo: Image.Image) -> None:
    image = pipe(photo, CAMERA, "none", generator=torch.Generator().manual_seed(9)).images[0]
    assert json.loads(image.info["diffcam"])["seed"] is None


def test_steps_are_those_that_the_weights_are_meant_for(
    pipe: RefocusPipeline, photo: Image.Image, tmp_path: Path
) -> None:
    def steps(image: Image.Image) -> int:
        return int(json.loads(image.info["diffcam"])["steps"])

    assert RefocusPipeline.from_pretrained("diffcam-tiny").settings.steps == 2
    assert steps(pipe(photo, CAMERA, "none").images[0]) == pipe.settings.steps == 8
    pipe.settings = type(pipe.settings)(**{**vars(pipe.settings), "steps": 3})
    assert steps(pipe.open(photo, "none").refocus(CAMERA)) == 3
    pipe.save_pretrained(tmp_path)
    assert RefocusPipeline.from_pretrained(tmp_path).settings.steps == 3


def test_a_call_shows_its_progress(
    pipe: RefocusPipeline, photo: Image.Image, capsys: pytest.CaptureFixture[str]
) -> None:
    pipe.set_progress_bar_config(desc="refocusing", file=sys.stderr)
    pipe(photo, CAMERA, "none", steps=3)
    assert "refocusing: 100%" in capsys.readouterr().err
    pipe.set_progress_bar_config(disable=True)
    pipe(photo, CAMERA, "none", steps=3)
    pipe.set_progress_bar_config()
    pipe.open(photo, "none").refocus(CAMERA)  # whoever drives a session shows a bar of his own
    assert capsys.readouterr().err == ""
