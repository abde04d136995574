"""A tiny FLUX checkpoint folder through the configs that users run: fit, kill, resume, test, save, load, refocus."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from diffusers import FluxPipeline
from PIL import Image
from safetensors.torch import load_file

from diffcam.cli import run_diffcam, train
from tests.flux import write_flux_folder

ROOT = Path(__file__).parents[2]
CONFIGS = ("configs/flux_512.yaml", "configs/flux_80gb.yaml", "tests/flux_small.yaml")
LORA = "pytorch_lora_weights.safetensors"


@pytest.fixture(scope="module")
def flux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_flux_folder(tmp_path_factory.mktemp("base") / "flux")


def _command(command: str, flux: Path, output: Path, *options: str, configs: Sequence[str] = CONFIGS) -> list[str]:
    model = "--model.init_args.model.init_args"
    return [
        command, *(part for config in configs for part in ("--config", str(ROOT / config))),
        f"{model}.codec.init_args.path", str(flux), f"{model}.transformer.init_args.base.init_args.path", str(flux),
        "--trainer.logger.init_args.save_dir", str(output), "--trainer.default_root_dir", str(output),
        "--trainer.callbacks+", "tests.tasks.recorder.LossRecorder", "--trainer.callbacks.file", str(output / "losses"),
        *options,
    ]  # fmt: skip


def _run(command: list[str], output: Path, *launcher: str) -> int:
    """A run in processes of its own; what it prints goes to a file, since killed ones may leave pipes open."""
    output.mkdir(exist_ok=True)
    with (output / "printed").open("w") as printed:
        process = subprocess.Popen(
            [sys.executable, *launcher, "-m", "diffcam", *command], cwd=ROOT, stdout=printed, stderr=printed,
            env={**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}, start_new_session=True,
        )  # fmt: skip
        try:
            return process.wait(timeout=600)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            print((output / "printed").read_text())


def _exported(output: Path) -> Path:
    return output / "flux_512" / "version_0" / "export"


def test_from_fit_to_a_refocused_photo(flux: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for folder in (whole, parts):
        folder.mkdir()
    train(_command("fit", flux, whole))
    train(_command("fit", flux, parts, "--trainer.max_steps", "2"))
    checkpoint = parts / "flux_512" / "version_0" / "checkpoints" / "last.ckpt"
    saved = torch.load(checkpoint, weights_only=True)["state_dict"]
    assert saved
    assert all("lora_" in name or "camera_projector" in name for name in saved)
    train(_command("fit", flux, parts, "--ckpt_path", str(checkpoint)))
    assert (parts / "losses.0").read_text() == (whole / "losses.0").read_text()
    export = _exported(whole)
    for name, value in load_file(export / LORA).items():
        assert torch.equal(value, load_file(parts / "flux_512" / "version_1" / "export" / LORA)[name]), name

    train(
        _command("test", flux, tmp_path, "--model.init_args.weights", str(export), "--trainer.limit_test_batches", "1")
    )

    plain = FluxPipeline.from_pretrained(flux, text_encoder=None, tokenizer=None, text_encoder_2=None, tokenizer_2=None)
    plain.load_lora_weights(export)
    theirs = plain.transformer.state_dict()
    for name, value in load_file(export / LORA).items():
        module = name.removeprefix("transformer.").removesuffix(".weight")
        assert torch.equal(theirs[f"{module}.default_0.weight"], value), name

    Image.effect_noise((40, 32), 60).convert("RGB").save(tmp_path / "photo.png")
    command = ["refocus", str(tmp_path / "photo.png"), "--focus", "0.5,0.5", "--bokeh", "8", "--depth", "none"]
    assert run_diffcam([*command, "--model", str(flux), "--adapter", str(export), "--steps", "1"]) == 0
    assert Image.open(tmp_path / "photo-refocused.png").size == (40, 32)


@pytest.mark.slow
def test_two_processes_give_what_one_gives(flux: Path, tmp_path: Path) -> None:
    """DDP, and FSDP2 under torchrun: the same adapters to rounding; FSDP2 also when it is killed and resumed."""
    one, ddp, fsdp, resumed = (tmp_path / name for name in ("one", "ddp", "fsdp", "resumed"))
    eager = (CONFIGS[0], CONFIGS[2])
    assert _run(_command("fit", flux, one, configs=eager), one) == 0
    two = ("--trainer.devices", "2")
    assert _run(_command("fit", flux, ddp, *two, "--trainer.strategy", "ddp", configs=eager), ddp) == 0

    # The loopback address: torchrun would look the machine's name up, which not every network answers.
    torchrun = ("-m", "torch.distributed.run", "--nproc_per_node", "2", "--local_addr", "127.0.0.1")
    sharded = (CONFIGS[0], "configs/flux_fsdp.yaml", CONFIGS[2])
    kept = (
        *two, "--trainer.strategy.init_args.data_parallel_size", "2",
        "--trainer.callbacks+", "lightning.pytorch.callbacks.ModelCheckpoint", "--trainer.callbacks.dirpath",
        str(tmp_path / "saved"), "--trainer.callbacks.every_n_train_steps", "2",
        "--trainer.callbacks.save_last", "true",
    )  # fmt: skip
    killed = (*kept, "--trainer.callbacks+", "tests.tasks.recorder.LossRecorder", "--trainer.callbacks.file",
              str(fsdp / "killed"), "--trainer.callbacks.kill_before", "3")  # fmt: skip
    assert _run(_command("fit", flux, fsdp, *killed, configs=sharded), fsdp, *torchrun) != 0
    assert (tmp_path / "saved" / "last.ckpt").is_file()
    again = (*kept, "--ckpt_path", str(tmp_path / "saved" / "last.ckpt"))
    assert _run(_command("fit", flux, resumed, *again, configs=sharded), resumed, *torchrun) == 0

    expected = load_file(_exported(one) / LORA)
    for output in (ddp, resumed):
        found = load_file(_exported(output) / LORA)
        assert set(found) == set(expected)
        for name, value in expected.items():
            torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5, msg=f"{output.name}: {name}")
