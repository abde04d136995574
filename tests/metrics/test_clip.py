"""CLIP-I and CLIP-IQA on small CLIPs with random weights, against piq and open_clip's own preprocessing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from skimage import data

from diffcam.metrics import CLIPI, CLIPIQA, MissingWeightsError
from diffcam.metrics import clip as clip_module

TEXT = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 2}
CONFIGS = {
    "diffcam-small-vit": {
        "embed_dim": 32,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 64, "layers": 2, "width": 64, "patch_size": 16, "head_width": 32},
        "text_cfg": TEXT,
    },
    "diffcam-small-resnet": {
        "embed_dim": 32,
        "quick_gelu": True,
        "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 16, "patch_size": None},
        "text_cfg": TEXT,
    },
}


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, Path]:
    """A checkpoint for each small architecture, all weights random and exact in half precision."""
    folder = tmp_path_factory.mktemp("clip")
    found = {}
    for name, config in CONFIGS.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
        open_clip.add_model_config(folder / f"{name}.json")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(3)
            state = open_clip.create_model(name, pretrained=None).state_dict()
            for key, value in state.items():
                if "bn" in key and key.endswith("weight"):  # zero as drawn, which would hide the residual branches
                    value.copy_(1 + torch.rand(value.shape))
                elif "proj.weight" in key and "attnpool" in key:  # small as drawn: all images would look alike
                    value.mul_(8)
        state = {key: value.half().float() if value.is_floating_point() else value for key, value in state.items()}
        found[name] = folder / f"{name}.safetensors"
        save_file({key: value.contiguous() for key, value in state.items()}, found[name])
    return found


def photos(size: tuple[int, int] = (96, 128)) -> torch.Tensor:
    height, width = size
    images = np.stack([image[60 : 60 + height, 100 : 100 + width] / 255 for image in (data.astronaut(), data.coffee())])
    return torch.from_numpy(images).permute(0, 3, 1, 2).float()


@pytest.mark.parametrize("size", [(96, 128), (64, 64), (160, 96)])
def test_clip_iqa_against_piq(checkpoints, monkeypatch, size) -> None:
    piq = pytest.importorskip("piq")
    from piq import clip_iqa
    from piq.feature_extractors.clip import build_model
    from safetensors.torch import load_file

    path = checkpoints["diffcam-small-resnet"]
    tokens = torch.zeros(2, 77, dtype=torch.int64)
    tokens[0, :5] = torch.tensor([49406, 886, 1125, 269, 49407])  # CLIP's byte pair codes of "good photo ."
    tokens[1, :5] = torch.tensor([49406, 2103, 1125, 269, 49407])
    monkeypatch.setattr(clip_iqa.clip, "load", lambda: build_model(load_file(path)).float())
    monkeypatch.setattr(clip_iqa, "download_tensor", lambda *_: tokens)
    images = photos(size) * torch.tensor([1.0, 0.1]).view(2, 1, 1, 1)
    expected = piq.CLIPIQA()(images).flatten()
    found = CLIPIQA("diffcam-small-resnet", path).score(images)
    assert abs(float(expected[0] - expected[1])) > 1e-3, "the two images must differ for this to be a test"
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


def test_clip_i_against_open_clip_preprocessing(checkpoints) -> None:
    path = checkpoints["diffcam-small-vit"]
    images = (photos((120, 200)) * 255).round() / 255
    model = clip_module.load_clip("diffcam-small-vit", path)
    transform = open_clip.image_transform(64, is_train=False, mean=clip_module.CLIP_MEAN, std=clip_module.CLIP_STD)
    pictures = [Image.fromarray((image * 255).round().byte().permute(1, 2, 0).numpy()) for image in images]
    with torch.no_grad():
        embeddings = model.encode_image(torch.stack([transform(picture) for picture in pictures])).numpy()
    expected = embeddings[0] @ embeddings[1] / np.linalg.norm(embeddings[0]) / np.linalg.norm(embeddings[1])
    found = CLIPI("diffcam-small-vit", path).score(images, images.flip(0))
    assert expected < 0.99
    assert found.tolist() == pytest.approx([expected, expected], abs=2e-3)
    assert CLIPI("diffcam-small-vit", path).score(images, images).tolist() == pytest.approx([1, 1], abs=1e-5)


@pytest.mark.parametrize("size", [(64, 64), (65, 97), (300, 200), (31, 50)])
def test_centre_view_is_torchvisions(size) -> None:
    from torchvision.transforms.v2.functional import center_crop, resize

    images = photos(size) if min(size) > 40 else torch.rand(2, 3, *size, generator=torch.Generator().manual_seed(0))
    expected = center_crop(resize(images, [64], interpolation=3, antialias=True), [64, 64]).clamp(0, 1)
    torch.testing.assert_close(clip_module.centre_view(images, 64), expected, atol=1e-5, rtol=0)


def test_loading_leaves_global_random_state(checkpoints) -> None:
    before = torch.random.get_rng_state()
    CLIPI("diffcam-small-vit", checkpoints["diffcam-small-vit"]).prepare()
    assert torch.equal(before, torch.random.get_rng_state())


def test_missing_and_wrong_files_are_named(checkpoints, tmp_path) -> None:
    with pytest.raises(MissingWeightsError, match=r"no file .*absent"):
        CLIPI("diffcam-small-vit", tmp_path / "absent.safetensors").prepare()
    with pytest.raises(MissingWeightsError, match=r"diffcam-small-resnet.safetensors holds no weights of CLIP"):
        CLIPI("diffcam-small-vit", checkpoints["diffcam-small-resnet"]).prepare()


def test_pickles_are_not_run(tmp_path, checkpoints) -> None:
    path = tmp_path / "evil.pt"
    path.write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "touched").encode() + b"'\ntR.")
    with pytest.raises(MissingWeightsError, match=r"evil.pt holds no weights"):
        CLIPI("diffcam-small-vit", path).prepare()
    assert not (tmp_path / "touched").exists()


def test_hub_out_of_reach_is_said_in_words(monkeypatch, tmp_path) -> None:
    import huggingface_hub

    class Unreachable:
        def head(self, *_: object, **__: object) -> None:
            raise OSError("name or service not known")

    monkeypatch.setattr(huggingface_hub, "get_session", Unreachable)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_: None)
    with pytest.raises(MissingWeightsError, match="model hub did not answer; give a local file"):
        CLIPIQA().prepare()


def test_hub_cache_is_used_without_asking(monkeypatch, checkpoints) -> None:
    import huggingface_hub

    path = checkpoints["diffcam-small-vit"]
    asked = []
    monkeypatch.setattr(open_clip, "get_pretrained_cfg", lambda *_: {"hf_hub": "someone/small/"})
    monkeypatch.setattr(
        huggingface_hub, "try_to_load_from_cache", lambda repo, name: asked.append((repo, name)) or str(path)
    )
    CLIPI("diffcam-small-vit").prepare()
    assert asked == [("someone/small", "open_clip_model.safetensors")]
