"""The methods that need nothing but diffcam."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import pytest
import torch

from diffcam.benchmark import (
    Copy,
    DepthRenderer,
    Edition,
    GroundTruth,
    ImperfectDepth,
    NotAvailableError,
    Refocuser,
    Restormer,
    TwoStage,
)
from diffcam.camera import Camera
from diffcam.data import BokehRenderer, GaussianNoise
from diffcam.data.batch import RefocusSample
from diffcam.photo import Photo
from diffcam.photo.pixels import from_picture


def samples_of(edition: Edition, subtask: str) -> list[RefocusSample]:
    numbers = [
        n for scene in edition.scenes() for n, s in zip(scene.numbers, scene.subtasks, strict=True) if s == subtask
    ]
    return [edition[number] for number in numbers]


def test_copy_and_ground_truth(edition) -> None:
    sample = edition[0]
    assert torch.equal(Copy()(sample), sample.reference)
    assert torch.equal(GroundTruth()(sample), sample.targets[0])
    assert not torch.equal(sample.reference, sample.targets[0])


def test_renderer_makes_the_ground_truth_of_add_bokeh(edition, psnr) -> None:
    method = DepthRenderer(BokehRenderer(gamma=2.2))
    for sample in samples_of(edition, "add_bokeh"):
        output = method(sample)
        assert psnr(output, sample.targets[0]) > psnr(sample.reference, sample.targets[0]) + 5


def test_renderer_cannot_remove_bokeh(edition) -> None:
    for sample in samples_of(edition, "remove_bokeh"):
        assert torch.equal(DepthRenderer()(sample), sample.reference)


@pytest.mark.slow
def test_a_model_that_is_not_there(tmp_path) -> None:
    with pytest.raises(NotAvailableError, match="no such model"):
        Refocuser(str(tmp_path / "absent")).prepare(tmp_path)


class Pipeline:
    """Stands in for a loaded pipeline: counts how often a photo is opened."""

    def __init__(self) -> None:
        self.opened = []

    def open(self, photo: Photo, depth: torch.Tensor) -> Self:
        self.opened.append((photo, depth))
        return self

    def latents(self, cameras: Sequence[Camera], steps: int, seed: int) -> torch.Tensor:
        assert (steps, seed) == (3, 7)
        return torch.full((len(cameras), 3, 4, 4), cameras[0].bokeh / 20)

    def images(self, latents: torch.Tensor, cameras: Sequence[Camera], seed: int) -> torch.Tensor:
        assert len(latents) == len(cameras)
        return latents


def test_a_photo_is_opened_once_for_all_cameras(edition) -> None:
    method, pipeline = Refocuser(steps=3, seed=7), Pipeline()
    method._pipeline = pipeline
    added = samples_of(edition, "add_bokeh")
    outputs = [method(sample) for sample in added]
    assert [float(x.mean()) for x in outputs] == pytest.approx([sample.cameras[0].bokeh / 20 for sample in added])
    assert len(pipeline.opened) == 2, "one reference a scene"
    photo, depth = pipeline.opened[0]
    assert torch.equal(from_picture(photo.image), (added[0].reference * 255).round() / 255)
    assert torch.equal(depth, added[0].disparity[0])


def test_imperfect_depth_of_a_method_is_that_of_an_edition(edition, shard) -> None:
    """Table 6 as rows of one config, and as a flag of one run: the same draws."""
    noisy = Edition([str(shard)], edition.resolution, edition.renderer, GaussianNoise())
    method = DepthRenderer(BokehRenderer(gamma=2.2))
    wrapped = ImperfectDepth(method, GaussianNoise())
    number = next(n for n, s in enumerate(edition.scenes()[0].subtasks) if s == "add_bokeh")
    assert torch.equal(wrapped(edition[number]), method(noisy[number]))
    assert not torch.equal(wrapped(edition[number]), method(edition[number]))
    assert not ImperfectDepth(Copy(), GaussianNoise()).keeps_outputs


def test_weights_are_known_by_their_content(tmp_path) -> None:
    (tmp_path / "model").mkdir()
    weights = tmp_path / "model" / "weights.safetensors"
    found = []
    for content in (b"one", b"two", b"one"):
        weights.write_bytes(content)
        found.append((Refocuser(str(tmp_path / "model")).fingerprint(), TwoStage(Restormer(weights)).fingerprint()))
    assert found[0] == found[2] != found[1]
    (tmp_path / "model" / "README.md").write_text("a card changes no output")
    assert Refocuser(str(tmp_path / "model")).fingerprint() == found[0][0]
    assert Refocuser(str(tmp_path / "absent")).fingerprint() == Copy().fingerprint() == ""
    assert len(Refocuser("diffcam-tiny").fingerprint()) == 64
