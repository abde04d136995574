"""What an error says: the choices where there are some."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from diffcam.benchmark import paper_table
from diffcam.errors import DiffcamError
from diffcam.models import LoRA, load_flux_codec, load_flux_transformer
from diffcam.pretrained.text_to_image import FluxPhotographer
from diffcam.simulation.sources import SourceOptions


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
