"""Where commands run their model."""

from __future__ import annotations

import argparse
from typing import Any

import pytest
import torch

from diffcam.commands.pipeline_options import add_pipeline_arguments, load_pipeline
from diffcam.errors import DiffcamError
from diffcam.pipeline import RefocusPipeline


def _load(*options: str) -> RefocusPipeline:
    parser = argparse.ArgumentParser()
    add_pipeline_arguments(parser)
    return load_pipeline(parser.parse_args(options))


def test_the_model_goes_to_the_device_that_is_named_or_there() -> None:
    assert _load("--device", "meta").device == torch.device("meta")
    assert _load().device.type == ("cuda" if torch.cuda.is_available() else "cpu")


def test_or_its_parts_wait_in_main_memory() -> None:
    offloaded = _load("--device", "meta", "--offload")
    assert offloaded.model.device == torch.device("meta")
    assert next(offloaded.model.transformer.parameters()).device == torch.device("cpu")
    assert next(offloaded.model.restoration.parameters()).device == torch.device("meta")


def test_a_base_is_asked_for_in_few_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    loaded = RefocusPipeline.from_pretrained("diffcam-tiny")
    monkeypatch.setattr(RefocusPipeline, "from_pretrained", lambda *_, **options: asked.update(options) or loaded)
    assert _load("--quantization", "4bit") is loaded
    assert asked["quantization"] == "4bit"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--device", "abacus"), "--device abacus: cannot be used"),
        (("--device", "cuda:99"), "--device cuda:99: cannot be used"),
        (("--device", "cpu", "--offload"), "nothing to offload from on the CPU"),
        (("--quantization", "4bit"), "quantization and codec are chosen for a FLUX base"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(options: tuple[str, ...], message: str) -> None:
    with pytest.raises(DiffcamError, match=message) as error:
        _load(*options)
    assert "\n" not in str(error.value)
