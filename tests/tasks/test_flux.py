"""A tiny FLUX checkpoint folder through the configs that users run: fit, kill, resume, test, save, load, refocus."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from diffusers import FluxPipeline
from PIL import Image
from safetensors.torch import load_file
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

from diffcam.commands.cli import lightning_main, run_diffcam, train
from tests.flux import write_flux_folder
from tests.tasks.torchrun import torchrun

ROOT = Path(__file__).parents[2]
CONFIGS = ("configs/flux_512.yaml", "configs/overlays/flux_80gb.yaml", "tests/flux_small.yaml")
MODEL = "model.init_args.model.init_args"
BASE = f"{MODEL}.transformer.init_args.base.init_args"
LORA = "pytorch_lora_weights.safetensors"


@pytest.fixture(scope="module")
def flux(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_flux_folder(tmp_path_factory.mktemp("base") / "flux")


def _command(command: str, flux: Path, output: Path, *options: str, configs: Sequence[str] = CONFIGS) -> list[str]:
    return [
        command, *(part for config in configs for part in ("--config", str(ROOT / config))),
        f"--{MODEL}.codec.init_args.path", str(flux), f"--{BASE}.path", str(flux),
        "--trainer.logger.init_args.save_dir", str(output), "--trainer.default_root_dir", str(output),
        "--trainer.callbacks+", "tests.tasks.recorder.LossRecorder", "--trainer.callbacks.file", str(output / "losses"),
        *options,
    ]  # fmt: skip


def _exported(output: Path) -> Path:
    return output / "flux_512" / "version_0" / "export"


@pytest.fixture(scope="module")
def whole(flux: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process makes of it, uninterrupted."""
    output = tmp_path_factory.mktemp("whole")
    with contextlib.chdir(ROOT):
        train(_command("fit", flux, output))
    return output


def test_from_fit_to_a_refocused_photo(
    flux: Path, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    parts = tmp_path / "parts"
    parts.mkdir()
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
    assert run_diffcam([*command, "--adapter", str(export), "--steps", "1"]) == 0
    assert Image.open(tmp_path / "photo-refocused.png").size == (40, 32)


@pytest.mark.parametrize(
    ("overlay", "options"),
    [
        ("configs/overlays/flux_8gpus.yaml", ()),
        ("configs/overlays/flux_fsdp.yaml", ("--trainer.strategy.init_args.devices", "2")),
    ],
    ids=["ddp", "fsdp"],
)
def test_two_processes_killed_and_resumed_give_what_one_gives(
    flux: Path, whole: Path, tmp_path: Path, overlay: str, options: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same adapters to rounding, as the users' own overlays train them."""
    monkeypatch.chdir(ROOT)
    killed, resumed, last = tmp_path / "killed", tmp_path / "resumed", tmp_path / "saved" / "last.ckpt"
    killed.mkdir()
    resumed.mkdir()
    configs = (CONFIGS[0], overlay, CONFIGS[2])
    two = (
        *options, "--trainer.devices", "2",
        "--trainer.callbacks+", "lightning.pytorch.callbacks.ModelCheckpoint", "--trainer.callbacks.dirpath",
        str(last.parent), "--trainer.callbacks.every_n_train_steps", "2", "--trainer.callbacks.save_last", "true",
    )  # fmt: skip
    dies = ("--trainer.callbacks+", "tests.tasks.recorder.LossRecorder", "--trainer.callbacks.file",
            str(killed / "dying"), "--trainer.callbacks.kill_before", "3")  # fmt: skip
    with pytest.raises(ChildFailedError):
        torchrun(_command("fit", flux, killed, *two, *dies, configs=configs), tmp_path, killed)
    assert [len((killed / f"dying.{rank}").read_text().splitlines()) for rank in (0, 1)] == [3, 3]
    torchrun(_command("fit", flux, resumed, *two, "--ckpt_path", str(last), configs=configs), tmp_path, resumed)

    for rank in (0, 1):  # the steps after the checkpoint, and no others
        steps = [line.split()[0] for line in (resumed / f"losses.{rank}").read_text().splitlines()]
        assert set(steps) == {"3", "4"}
    expected, found = (load_file(_exported(output) / LORA) for output in (whole, resumed))
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize(
    ("option", "value", "complaint"),
    [
        ("trainer.precision", "bf16-true", "leave trainer.precision at 32-true, the base has its own dtype"),
        (f"{BASE}.path", "no-such-folder", "no-such-folder: cannot load transformer"),
        (
            "model.init_args.training.init_args.rank",
            "0",
            "should be a positive integer value but the value passed is 0",
        ),
        ("data.init_args.train", "[missing-*.tar]", "missing-*.tar"),
        ("data.init_args.resolution", "30", "images of 30x30: both must be multiples of"),
        ("ckpt_path", "missing.ckpt", "missing.ckpt"),
        ("ckpt_path", "README.md", "not a checkpoint"),
    ],
)
def test_wrong_settings_end_in_one_line(
    flux: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], option: str,
    value: str, complaint: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["lightning", *_command("fit", flux, tmp_path, f"--{option}", value)])
    with pytest.raises(SystemExit) as stopped:
        lightning_main()
    printed = capsys.readouterr().err
    assert stopped.value.code == 2
    assert printed.splitlines()[-1].startswith("lightning: ")
    assert complaint in printed.splitlines()[-1]
    assert "Namespace(" not in printed
    assert not (tmp_path / "losses.0").exists()
