"""Weights on disk: whole models, FLUX folders and adapters that plain diffusers and peft read too."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import FluxPipeline, FluxTransformer2DModel
from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from diffcam.camera import CameraBatch
from diffcam.errors import DiffcamError
from diffcam.models import (
    LensRefocusModel,
    LoRA,
    RefocusModel,
    RefocusTransformer,
    load_flux_codec,
    load_flux_transformer,
    load_model,
)
from diffcam.models.adapters import trained_parameters
from diffcam.models.checkpoint import RefocusSettings, load_adapter, packaged, save_adapter, save_model
from tests.flux import write_flux_folder

MakeModel = Callable[..., LensRefocusModel]


def _velocity(model: RefocusModel) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    side = 4 * model.token_pixels
    image, disparity = (
        torch.rand(1, 3, side, side, generator=generator),
        torch.rand(1, 1, side, side, generator=generator),
    )
    photo = model.encode_photo(image, disparity)
    cameras = model.encode_cameras(CameraBatch(torch.tensor([[0.3, 0.6]]), torch.tensor([7.0])), photo)
    with torch.no_grad():
        return model.velocity(model.noise(photo, 1, generator), torch.tensor([0.7]), photo, cameras)


@pytest.fixture
def flux_folder(tmp_path: Path) -> Path:
    """A tiny FLUX checkpoint in the hub's own folder format, without text encoders."""
    return write_flux_folder(tmp_path / "flux")


def _flux_model(folder: Path, rank: int = 4) -> RefocusModel:
    base = load_flux_transformer(str(folder), "float32")
    model = RefocusModel(load_flux_codec(str(folder), "float32"), RefocusTransformer(base))
    if rank:
        LoRA(rank, targets=("attention", "feed_forward", "modulation")).prepare(model.transformer)
        generator = torch.Generator().manual_seed(5)
        for name, parameter in trained_parameters(model).items():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.2, generator=generator)
    return model


def test_whole_models_come_back(tmp_path: Path, make_model: MakeModel) -> None:
    model = make_model(attention="cached", rotary_theta=100.0, short_side=256, gamma=3.0, trusts_maps=True)
    save_model(model, tmp_path / "model", steps=3, dtype=torch.float32)
    loaded, settings = load_model(tmp_path / "model")
    assert torch.equal(_velocity(loaded), _velocity(model))
    assert (settings.trained_size, settings.steps) == (256, 3)
    assert (loaded.short_side, loaded.gamma) == (256, 3.0)
    assert (loaded.transformer.attention, loaded.transformer.rotary_theta) == ("cached", 100.0)


def test_damaged_models_are_named(tmp_path: Path, make_model: MakeModel) -> None:
    folder = tmp_path / "model"
    with pytest.raises(DiffcamError, match=r"model: not a diffcam model.*refocus\.json"):
        load_model(folder)
    save_model(make_model(), folder)
    weights = folder / "transformer" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(DiffcamError, match="damaged"):
        load_model(folder)
    settings = json.loads((folder / "refocus.json").read_text())
    for wrong in ({**settings, "stranger": 1}, {"shift": 1.0}, [1]):
        (folder / "refocus.json").write_text(json.dumps(wrong))
        with pytest.raises(DiffcamError, match=r"refocus\.json: not the settings of a diffcam model"):
            load_model(folder)


OLD = """{
  "attention": "cached",
  "condition_timestep": "zero",
  "camera_at_focus": true,
  "rotary_theta": 100.0,
  "guidance": 1.0,
  "parametrisation": "LensOutput",
  "shift": 4.0,
  "trained_size": 256,
  "base": "",
  "fingerprint": "",
  "gamma": 1.5
}
"""
"""refocus.json as version 0.1 wrote it."""


def test_folders_of_version_0_1_load(tmp_path: Path, make_model: MakeModel) -> None:
    folder = tmp_path / "model"
    model = make_model(attention="cached", rotary_theta=100.0, short_side=256, gamma=1.5)
    model.mode = "classical"  # as all folders were before the mode was written
    save_model(model, folder, dtype=torch.float32)
    (folder / "refocus.json").write_text(OLD)
    loaded, settings = load_model(folder)
    assert torch.equal(_velocity(loaded), _velocity(model))
    assert (loaded.shift, loaded.short_side, loaded.gamma, settings.steps) == (4.0, 256, 1.5, 8)
    (folder / "refocus.json").write_text(OLD.replace("LensOutput", "VelocityOutput"))
    assert RefocusSettings.read(folder).lens is None
    (folder / "refocus.json").write_text(OLD.replace("LensOutput", "ResidualOutput"))
    with pytest.raises(DiffcamError, match=r"refocus\.json: .*is a ResidualOutput, which diffcam can no longer"):
        load_model(folder)


def test_the_packaged_model_was_made_for_two_steps() -> None:
    folder = packaged("diffcam-tiny")
    assert folder is not None
    assert RefocusSettings.read(folder).steps == 2


def test_adapter_comes_back_on_a_fresh_base(tmp_path: Path, flux_folder: Path) -> None:
    trained = _flux_model(flux_folder)
    save_adapter(trained, tmp_path / "adapter", base=str(flux_folder))
    fresh = _flux_model(flux_folder, rank=0)
    assert not torch.allclose(_velocity(fresh), _velocity(trained), atol=1e-3)
    load_adapter(fresh, tmp_path / "adapter")
    torch.testing.assert_close(_velocity(fresh), _velocity(trained))


def test_plain_diffusers_reads_the_adapter(tmp_path: Path, flux_folder: Path) -> None:
    trained = _flux_model(flux_folder)
    save_adapter(trained, tmp_path / "adapter")
    pipeline = FluxPipeline.from_pretrained(
        flux_folder, text_encoder=None, tokenizer=None, text_encoder_2=None, tokenizer_2=None
    )
    pipeline.load_lora_weights(tmp_path / "adapter", weight_name="pytorch_lora_weights.safetensors")
    ours, theirs = trained.transformer.base.state_dict(), pipeline.transformer.state_dict()
    lora = [name for name in ours if "lora_" in name]
    assert len(lora) > 40
    for name in lora:
        assert torch.equal(ours[name], theirs[name.replace(".default.", ".default_0.")]), name


def test_adapter_of_another_base_and_foreign_keys_are_refused(tmp_path: Path, flux_folder: Path) -> None:
    save_adapter(_flux_model(flux_folder), tmp_path / "adapter")
    path = tmp_path / "adapter" / "pytorch_lora_weights.safetensors"
    weights = load_file(path)
    save_file({**weights, "transformer.foreign.lora_A.weight": torch.zeros(4, 4)}, path)
    with pytest.raises(DiffcamError, match="does not fit this base"):
        load_adapter(_flux_model(flux_folder, rank=0), tmp_path / "adapter")
    name = next(key for key in weights if "lora_A" in key)
    save_file({**weights, name: torch.zeros(4, 7)}, path)
    with pytest.raises(DiffcamError, match="does not fit this base"):
        load_adapter(_flux_model(flux_folder, rank=0), tmp_path / "adapter")
    with pytest.raises(DiffcamError, match="no pytorch_lora_weights"):
        load_adapter(_flux_model(flux_folder, rank=0), tmp_path / "nothing")


def test_the_adapter_knows_its_base_from_others_of_the_same_shape(tmp_path: Path, flux_folder: Path) -> None:
    """In either data type, and saved again; one that was saved without a fingerprint is taken as it is."""
    adapter, other = tmp_path / "adapter", write_flux_folder(tmp_path / "other", seed=2)
    save_adapter(_flux_model(flux_folder), adapter, base="the-right-one")
    halved = _flux_model(flux_folder, rank=0)
    halved.transformer.base = load_flux_transformer(str(flux_folder), "bfloat16")
    load_adapter(halved, adapter)
    save_adapter(halved, tmp_path / "again")
    load_adapter(_flux_model(flux_folder, rank=0), tmp_path / "again")
    with pytest.raises(DiffcamError, match="adapter: was trained on the-right-one; the weights of this"):
        load_adapter(_flux_model(other, rank=0), adapter)
    settings = json.loads((adapter / "refocus.json").read_text())
    assert settings.pop("fingerprint")
    (adapter / "refocus.json").write_text(json.dumps(settings))
    load_adapter(_flux_model(other, rank=0), adapter)


def test_missing_bases_are_explained_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DiffcamError, match="cannot load transformer") as error:
        load_flux_transformer(str(tmp_path / "nowhere"))
    assert "\n" not in str(error.value)


def test_lora_trains_adapters_and_projector_alone(flux_folder: Path) -> None:
    model = _flux_model(flux_folder, rank=0)
    before: dict[str, Any] = {name: value.clone() for name, value in model.state_dict().items()}
    plain = _velocity(model)
    projector = {name: value.clone() for name, value in model.transformer.camera_projector.state_dict().items()}
    LoRA(rank=4).prepare(model.transformer)
    model.transformer.camera_projector.load_state_dict(projector)  # which is drawn anew
    torch.testing.assert_close(_velocity(model), plain, msg="a fresh adapter must not change the base")
    names = trained_parameters(model)
    assert all("lora_" in name or "camera_projector" in name for name in names)
    assert all(parameter.dtype == torch.float32 for parameter in names.values())
    assert not any("norm" in name for name in names), "modulation is not among the default targets"
    for name, value in model.state_dict().items():
        if name in before and "camera_projector" not in name:
            assert torch.equal(value, before[name]), name


def test_adapters_on_a_half_precision_base_keep_masters_and_save_memory(flux_folder: Path) -> None:
    """Weights and gradients in float32; of every layer's input no float32 copy is kept."""
    transformer = load_flux_transformer(str(flux_folder), "bfloat16")
    block = RefocusTransformer(transformer)
    LoRA(rank=4, targets=("feed_forward",)).prepare(block)
    layer = transformer.single_transformer_blocks[0].proj_mlp
    kept: list[torch.Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        layer(torch.randn(2, 5, 32, dtype=torch.bfloat16)).float().sum().backward()
    assert layer.lora_B["default"].weight.grad.dtype == torch.float32
    assert {tensor.dtype for tensor in kept if tensor.shape[:2] == (2, 5) or tensor.shape[:1] == (10,)} == {
        torch.bfloat16
    }


def test_incomplete_bases_are_refused(tmp_path: Path, flux_folder: Path) -> None:
    """A missing part of the weights, names that are lacking or foreign, a package that is not there."""
    folder = flux_folder / "transformer"
    file = folder / "diffusion_pytorch_model.safetensors"
    weights = load_file(file)
    name = "single_transformer_blocks.0.proj_out.weight"
    save_file({key: value for key, value in weights.items() if key != name}, file)
    with pytest.raises(DiffcamError, match=r"transformer lacks single_transformer_blocks\.0\.proj_out\.weight"):
        load_flux_transformer(str(flux_folder), "float32")
    save_file({**weights, "stranger.weight": torch.zeros(2)}, file)
    with pytest.raises(DiffcamError, match=r"holds the foreign stranger\.weight"):
        load_flux_transformer(str(flux_folder), "float32")
    save_file(weights, file)
    load_flux_transformer(str(flux_folder), "float32").save_pretrained(folder, max_shard_size="200kB")
    file.unlink(missing_ok=True)
    sorted(folder.glob("*-of-*.safetensors"))[1].unlink()
    with pytest.raises(DiffcamError, match="cannot load transformer") as error:
        load_flux_transformer(str(flux_folder), "float32")
    assert "\n" not in str(error.value)


def test_quantisation_says_what_it_needs(flux_folder: Path) -> None:
    for bits, package in (("8bit", "torchao"), ("4bit", "bitsandbytes")):
        if importlib.util.find_spec(package) is None:
            with pytest.raises(DiffcamError, match=rf"needs the package {package}.*diffcam\[quantization\]"):
                load_flux_transformer(str(flux_folder), quantization=bits)  # type: ignore[arg-type]


def test_plain_peft_reads_the_adapter(tmp_path: Path, flux_folder: Path) -> None:
    """From the file and the configuration in its metadata alone."""
    trained = _flux_model(flux_folder)
    save_adapter(trained, tmp_path / "adapter")
    path = tmp_path / "adapter" / "pytorch_lora_weights.safetensors"
    with safe_open(path, "pt") as file:
        metadata = json.loads(file.metadata()["lora_adapter_metadata"])
    config = {key.removeprefix("transformer."): value for key, value in metadata.items()}
    base = FluxTransformer2DModel.from_pretrained(flux_folder, subfolder="transformer")
    inject_adapter_in_model(LoraConfig(**config), base)
    weights = {name.removeprefix("transformer."): value for name, value in load_file(path).items()}
    assert not set_peft_model_state_dict(base, weights).unexpected_keys
    ours, theirs = trained.transformer.base.state_dict(), base.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours if "lora_" in name)


def test_adapters_merge_into_the_base_and_out_again(flux_folder: Path) -> None:
    model = _flux_model(flux_folder)
    expected = _velocity(model)
    before = model.transformer.base.single_transformer_blocks[0].proj_mlp.base_layer.weight.clone()
    model.transformer.base.fuse_lora()
    assert not torch.equal(model.transformer.base.single_transformer_blocks[0].proj_mlp.base_layer.weight, before)
    torch.testing.assert_close(_velocity(model), expected, rtol=1e-4, atol=1e-4)
    model.transformer.base.unfuse_lora()
    torch.testing.assert_close(_velocity(model), expected, rtol=1e-4, atol=1e-4)
