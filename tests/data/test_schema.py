from __future__ import annotations

import pytest
import torch

from diffcam.camera import Camera
from diffcam.data import Sample, Scene, Surface, Variant


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": torch.zeros(1, 4, 4)}, "image must be"),
        ({"disparity": torch.zeros(1, 4, 5)}, "one size"),
        ({"disparity": torch.full((1, 4, 4), float("nan"))}, "disparity must be finite"),
        ({"image": torch.full((3, 4, 4), 1.5)}, "image must be finite and lie in"),
        ({"image": torch.zeros(3, 0, 4), "disparity": torch.zeros(1, 0, 4)}, "empty"),
        ({"key": "a.b"}, "key 'a.b'"),
        ({"samples": (Sample("refocus", 0, None, Camera((0.5, 0.5), 1)),)}, "variant 0 of 0"),
    ],
)
def test_wrong_scenes_are_refused(change: dict, words: str) -> None:
    fields = {
        "key": "a",
        "image": torch.zeros(3, 4, 4),
        "disparity": torch.zeros(1, 4, 4),
        "source": "s",
        "kind": "photo",
    }
    with pytest.raises(ValueError, match=words):
        Scene(**(fields | change))


def test_invalid_variants_samples_and_surfaces_are_refused() -> None:
    with pytest.raises(ValueError, match="focus_disparity"):
        Variant(Camera((0.5, 0.5), 1), float("nan"))
    with pytest.raises(ValueError, match="subtask"):
        Sample("blur", None, None, Camera((0.5, 0.5), 1))
    with pytest.raises(ValueError, match="a surface must be"):
        Surface(torch.zeros(3, 4, 4), torch.zeros(1, 4, 5), torch.zeros(1, 4, 4))
