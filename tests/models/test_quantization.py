"""A frozen base in 8 and in 4 bits, where the packages are installed: pip install 'diffcam[quantization]'."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

import diffcam.callbacks.memory
from diffcam.callbacks import MemoryCheck
from diffcam.camera import CameraBatch
from diffcam.errors import DiffcamError
from diffcam.models import LoRA, RefocusModel, RefocusTransformer, load_flux_codec, load_flux_transformer
from diffcam.models.adapters import base_fingerprint, trained_parameters
from diffcam.planning.operations import size
from diffcam.tasks import RefocusTask
from tests.flux import write_flux_folder


@pytest.fixture(scope="module", params=["8bit", "4bit"])
def bits(request: pytest.FixtureRequest) -> str:
    package = {"8bit": "torchao", "4bit": "bitsandbytes"}[request.param]
    pytest.importorskip(package, reason=f"{request.param} bases need {package}: pip install 'diffcam[quantization]'")
    return str(request.param)


@pytest.fixture(scope="module")
def flux_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_flux_folder(tmp_path_factory.mktemp("base") / "flux", heads=4)


def _task(folder: Path, bits: Any) -> RefocusTask:
    with pytest.MonkeyPatch.context() as patch:
        if bits == "4bit" and not torch.cuda.is_available():  # bitsandbytes does without a GPU, diffusers asks for one
            from diffusers.quantizers.bitsandbytes import BnB4BitDiffusersQuantizer as Quantizer

            patch.setattr(Quantizer, "validate_environment", lambda *_, **__: None)
            patch.setattr(Quantizer, "update_device_map", lambda *_: {"": "cpu"})
        base = load_flux_transformer(str(folder), "float32", bits)
    model = RefocusModel(load_flux_codec(str(folder), "float32"), RefocusTransformer(base))
    return RefocusTask(model, LoRA(4))


def _velocity(model: RefocusModel) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    side = 4 * model.token_pixels
    photo = model.encode_photo(*(torch.rand(1, n, side, side, generator=generator) for n in (3, 1)))
    cameras = model.encode_cameras(CameraBatch(torch.tensor([[0.3, 0.6]]), torch.tensor([7.0])), photo)
    return model.velocity(model.noise(photo, 1, generator), torch.tensor([0.7]), photo, cameras)


def _frozen_bytes(task: RefocusTask) -> int:
    return size(weight for weight in task.model.transformer.parameters() if not weight.requires_grad)


def test_adapters_learn_on_it_and_nothing_else_does(flux_folder: Path, bits: str) -> None:
    whole, quantized = _task(flux_folder, None), _task(flux_folder, bits)
    expected, found = (_velocity(task.model) for task in (whole, quantized))
    assert base_fingerprint(quantized.model.transformer.base) == base_fingerprint(whole.model.transformer.base)
    assert (found - expected).norm() < {"8bit": 0.01, "4bit": 0.15}[bits] * expected.norm()
    for task in (whole, quantized):
        _velocity(task.model).square().mean().backward()
    wanted, got = (
        torch.cat([p.grad.flatten() for p in trained_parameters(task).values() if p.grad is not None])
        for task in (whole, quantized)
    )
    assert torch.cosine_similarity(wanted, got, dim=0) > {"8bit": 0.999, "4bit": 0.97}[bits]
    assert all(weight.grad is None for weight in quantized.parameters() if not weight.requires_grad)


def test_it_takes_that_much_less_memory_and_is_checked(
    flux_folder: Path, bits: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, quantized = _task(flux_folder, None), _task(flux_folder, bits)
    assert _frozen_bytes(quantized) < {"8bit": 0.45, "4bit": 0.35}[bits] * _frozen_bytes(whole)
    trainer: Any = SimpleNamespace(
        datamodule=SimpleNamespace(batch_size=1, largest=(32, 32)), callbacks=[], world_size=1,
        strategy=SimpleNamespace(root_device=torch.device("cpu")),
    )  # fmt: skip
    MemoryCheck().setup(trainer, quantized, "fit")
    monkeypatch.setattr(diffcam.callbacks.memory, "device_memory", lambda device: _frozen_bytes(quantized))
    with pytest.raises(DiffcamError, match="training needs about"):
        MemoryCheck(reserve=0.0).setup(trainer, quantized, "fit")
