from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import torch

from diffcam.camera import Camera
from diffcam.data import (
    BokehRenderer,
    DepthDropout,
    GridPairing,
    RandomMasking,
    Sample,
    Scene,
    SceneEntry,
    Variant,
    write_shard,
)
from diffcam.data.evaluation import BenchmarkDataset, ValidationDataset
from diffcam.data.reader import read_index
from diffcam.errors import DiffcamError


def benchmark(path: Path, resolution=(24, 32), perturbation=None) -> BenchmarkDataset:
    return BenchmarkDataset(read_index([str(path)]), resolution, BokehRenderer(), perturbation, 0)


def test_validation_samples_are_deterministic(mixed_shards: str) -> None:
    entries = read_index([mixed_shards])
    one, other = (ValidationDataset(entries, (16, 16), GridPairing(), BokehRenderer(), 5, 3) for _ in range(2))
    assert len(one) == 3 * 18
    for index in (53, 0, 20):
        assert one[index].cameras == other[index].cameras
        assert torch.equal(one[index].targets, other[index].targets)
    assert {one[index].scene for index in range(54)} == {entry.name for entry in entries}
    changed = ValidationDataset(entries, (16, 16), GridPairing(), BokehRenderer(), 6, 3)
    assert [changed[n].cameras for n in range(5)] != [one[n].cameras for n in range(5)]


def test_validation_sub_tasks_match_their_pictures(mixed_shards: str) -> None:
    data = ValidationDataset(read_index([mixed_shards]), (16, 16), GridPairing(), BokehRenderer(), 0, 5)
    subtasks = Counter()
    for sample in (data[index] for index in range(len(data))):
        subtasks[sample.subtask] += 1
        assert sample.targets.shape == (1, 3, 16, 16)
        assert torch.equal(sample.exact_disparity, sample.disparity)
        assert torch.equal(sample.reference, sample.all_in_focus) is (sample.subtask == "add_bokeh")
        assert torch.equal(sample.targets[0], sample.all_in_focus) is (sample.subtask == "remove_bokeh")
        assert (sample.cameras[0].bokeh == 0) is (sample.subtask == "remove_bokeh")
    assert set(subtasks) == {"refocus", "add_bokeh", "remove_bokeh"}


def test_benchmark_samples_are_those_of_the_scenes(make_scene, tmp_path: Path) -> None:
    scenes = [make_scene("x", variants=2, samples=True), make_scene("y"), make_scene("z", variants=2, samples=True)]
    write_shard(tmp_path / "a.tar", scenes, image_format="png")
    data = benchmark(tmp_path / "a.tar")
    samples = [data[index] for index in range(len(data))]
    assert [sample.scene for sample in samples] == ["a/x"] * 3 + ["a/z"] * 3
    assert [sample.subtask for sample in samples] == ["refocus", "add_bokeh", "remove_bokeh"] * 2
    assert [sample.index for sample in samples] == list(range(6))
    assert [sample.cameras for sample in samples[:3]] == [(sample.camera,) for sample in scenes[0].samples]
    stored = [torch.full((3, 24, 32), (number + 1) / 255) for number in range(2)]
    refocus, add, remove = samples[3:]
    assert torch.equal(refocus.reference, stored[0])
    assert torch.equal(refocus.targets[0], stored[1])
    assert torch.equal(add.targets[0], stored[0])
    assert torch.equal(remove.reference, stored[0])
    for image in (add.reference, add.all_in_focus, remove.targets[0], refocus.all_in_focus):
        torch.testing.assert_close(image, scenes[2].image, atol=0.51 / 255, rtol=0)
    torch.testing.assert_close(refocus.exact_disparity, scenes[2].disparity, atol=1e-4, rtol=0)


def test_described_variants_are_rendered_once_a_scene(make_scene, tmp_path: Path, monkeypatch) -> None:
    plain = make_scene("x")
    described = tuple(Variant(Camera((0.5, 0.5), 300 / 10.0), plane) for plane in (0.5, 0.9))
    samples = (
        Sample("add_bokeh", None, 0, Camera((0.5, 0.5), 30)),
        Sample("remove_bokeh", 0, None, Camera((0.5, 0.5), 0)),
    )
    write_shard(tmp_path / "a.tar", [Scene("x", plain.image, plain.disparity, "s", "photo", described, samples)], "png")
    reads, renders = [], []
    read, render = SceneEntry.read, BokehRenderer.__call__
    monkeypatch.setattr(SceneEntry, "read", lambda self, **k: reads.append(1) or read(self, **k))
    monkeypatch.setattr(BokehRenderer, "__call__", lambda self, *a: renders.append(1) or render(self, *a))
    data = benchmark(tmp_path / "a.tar")
    add, remove, again = data[0], data[1], data[0]
    assert (len(reads), len(renders)) == (1, 1)
    assert torch.equal(add.targets[0], remove.reference)
    assert torch.equal(add.targets[0], again.targets[0])
    expected = BokehRenderer()(add.all_in_focus, add.exact_disparity, 0.5, described[0].camera)
    assert torch.equal(add.targets[0], expected)
    assert (add.targets[0] - add.reference).abs().max() > 0.1


def test_perturbation_changes_the_models_disparity_only(make_scene, tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [make_scene("x", variants=2, samples=True)])
    exact, zero, masked = (
        benchmark(tmp_path / "a.tar", perturbation=p) for p in (None, DepthDropout(1.0), RandomMasking())
    )
    assert torch.equal(exact[0].disparity, exact[0].exact_disparity)
    assert (zero[0].disparity == 0).all()
    assert torch.equal(zero[0].exact_disparity, exact[0].disparity)
    assert torch.equal(masked[1].disparity, benchmark(tmp_path / "a.tar", perturbation=RandomMasking())[1].disparity)
    assert not torch.equal(masked[1].disparity, masked[2].disparity)


def test_the_window_holds_the_focus_of_each_sample(make_scene, tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [make_scene("x", variants=2, samples=True, height=24, width=48)], "png")
    data = benchmark(tmp_path / "a.tar", resolution=(24, 24))
    centre, moved = data[2], data[1]
    image = make_scene("x", height=24, width=48).image
    torch.testing.assert_close(centre.all_in_focus, image[:, :, 12:36], atol=0.51 / 255, rtol=0)
    assert centre.cameras[0].focus == (0.5, 0.5)
    torch.testing.assert_close(moved.all_in_focus, image[:, :, 4:28], atol=0.51 / 255, rtol=0)  # focus at pixel 4.8
    assert moved.cameras[0].focus == (pytest.approx(0.8 / 24), 0.5)


def test_scenes_without_samples_are_refused(mixed_shards: str) -> None:
    with pytest.raises(DiffcamError, match="benchmark samples"):
        BenchmarkDataset(read_index([mixed_shards]), (16, 16), BokehRenderer(), None, 0)
