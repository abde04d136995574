"""What an error says: one line that is never empty, and the choices where there are some."""

from __future__ import annotations

import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NoReturn

import pytest
import torch

from diffcam.benchmark import External, ImageEditing, NotAvailableError, paper_table
from diffcam.commands import cli
from diffcam.data import index_shard
from diffcam.errors import DiffcamError
from diffcam.metrics.clip import load_clip
from diffcam.metrics.lpips import local_backbone
from diffcam.models import LoRA, load_flux_codec, load_flux_transformer
from diffcam.photo import open_photo, save_photo
from diffcam.pretrained.text_to_image import FluxPhotographer
from diffcam.simulation.sources import SourceOptions


def raising(error: Exception) -> Callable[..., NoReturn]:
    def fail(*_: object, **__: object) -> NoReturn:
        raise error

    return fail


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: load_flux_transformer("flux", quantization="3bit"), "quantization 3bit: must be one of 8bit, 4bit"),
        (lambda: load_flux_transformer("flux", "float23"), "dtype float23: must be one of bfloat16, float32"),
        (lambda: load_flux_codec("flux", "float23"), "dtype float23: must be one of bfloat16, float32"),
        (lambda: LoRA(targets=("atention",)), "LoRA target atention: must be one of attention, feed_forward"),
        (lambda: FluxPhotographer(dtype="float23")("a cat", 0, (32, 32)), "dtype float23: must be one of bfloat16"),
        (lambda: SourceOptions(source="moon").open(print), "source moon: must be one of "),
        (lambda: paper_table("9", {}), "table 9: must be one of .*4, "),
    ],
)
def test_what_is_no_choice_is_told_the_choices(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(DiffcamError, match=f"^{message}"):
        call()


@pytest.mark.parametrize(("error", "reason"), [(OSError("it is gone"), "it is gone"), (OSError(), "OSError")])
def test_what_the_system_does_not_explain_is_not_none(
    error: OSError, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", raising(error))
        with pytest.raises(DiffcamError, match=rf"out\.png: cannot be written \({reason}\)"):
            save_photo(torch.zeros(3, 4, 4), tmp_path / "out.png")
    with monkeypatch.context() as patch:
        patch.setattr("subprocess.Popen", raising(error))
        with pytest.raises(NotAvailableError, match=f"cannot start program: {reason}"):
            External("program").prepare(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", raising(error))
        with pytest.raises(DiffcamError, match=rf"photo\.jpg: cannot be opened \({reason}\)"):
            open_photo("photo.jpg")
    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", raising(error))
        damage = index_shard(tmp_path / "a.tar").damage
    assert f"a.tar: cannot be read ({reason})" in damage[0]
    for raised, said in ((error, reason), (OSError(28, "it is full"), "it is full"), (OSError(2, "no", "a"), "a: no")):
        monkeypatch.setattr(cli, "run_diffcam", raising(raised))
        with pytest.raises(SystemExit):
            cli.main()
        assert capsys.readouterr().err == f"diffcam: {said}\n"


def test_what_says_nothing_is_called_by_its_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x.pth").touch()
    (tmp_path / "x.png").write_bytes(b"x")
    monkeypatch.setattr("torch.load", raising(EOFError()))
    monkeypatch.setattr("open_clip.create_model", raising(AssertionError()))
    monkeypatch.setattr("PIL.Image.open", raising(EOFError()))
    kind = type("OpenAIError", (Exception,), {})
    monkeypatch.setitem(sys.modules, "openai", SimpleNamespace(OpenAIError=kind, OpenAI=raising(kind())))
    calls: dict[str, Callable[[], Any]] = {
        "AlexNet state dict of torchvision: EOFError": lambda: local_backbone(tmp_path / "x.pth"),
        "no weights of CLIP any: AssertionError": lambda: load_clip("any", tmp_path / "x.pth"),
        r"the image is damaged \(EOFError\)": lambda: open_photo(tmp_path / "x.png"),
        "OpenAIError": lambda: ImageEditing().prepare(tmp_path),
    }
    for message, call in calls.items():
        with pytest.raises((DiffcamError, NotAvailableError), match=message):
            call()


def test_a_damaged_shard_of_no_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.tar").write_bytes(bytes(1024))
    monkeypatch.setattr("diffcam.data.shards.walk_members", raising(tarfile.ReadError()))
    assert "not a whole tar file (ReadError)" in index_shard(tmp_path / "a.tar").damage[0]
