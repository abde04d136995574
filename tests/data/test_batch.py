from __future__ import annotations

import pytest
import torch
from lightning.fabric.utilities.apply_func import move_data_to_device

from diffcam.camera import Camera
from diffcam.data import RefocusBatch, RefocusSample, collate


def make_sample(index: int, targets: int = 2, evaluated: bool = False) -> RefocusSample:
    image = torch.full((3, 4, 6), index / 10)
    return RefocusSample(
        reference=image,
        targets=torch.stack([image + k for k in range(targets)]),
        disparity=image[:1],
        cameras=tuple(Camera((0.25 * k, 0.5), index + k) for k in range(targets)),
        index=index,
        scene=f"s/{index}",
        subtask="train",
        source="layered",
        all_in_focus=image if evaluated else None,
        exact_disparity=image[:1] if evaluated else None,
    )


def test_collate_stacks_samples() -> None:
    batch = collate([make_sample(3), make_sample(7)])
    assert len(batch) == 2
    assert batch.reference.shape == (2, 3, 4, 6)
    assert batch.targets.shape == (2, 2, 3, 4, 6)
    assert batch.disparity.shape == (2, 1, 4, 6)
    assert batch.targets[1, 1, 0, 0, 0] == pytest.approx(1.7)
    assert batch.cameras.focus.tolist() == [[[0.0, 0.5], [0.25, 0.5]]] * 2
    assert batch.cameras.bokeh.tolist() == [[3, 4], [7, 8]]
    assert batch.index.tolist() == [3, 7]
    assert batch.index.dtype == torch.int64
    assert (batch.scenes, batch.subtasks, batch.sources) == (("s/3", "s/7"), ("train",) * 2, ("layered",) * 2)
    assert batch.all_in_focus is None
    assert batch.exact_disparity is None


def test_evaluation_fields_are_stacked() -> None:
    batch = collate([make_sample(1, 1, evaluated=True), make_sample(2, 1, evaluated=True)])
    assert batch.all_in_focus.shape == (2, 3, 4, 6)
    assert batch.exact_disparity.shape == (2, 1, 4, 6)


def test_to_casts_what_floats_and_moves_the_rest() -> None:
    batch = collate([make_sample(1, evaluated=True)]).to("meta", torch.float16)
    for tensor in (batch.reference, batch.targets, batch.disparity, batch.all_in_focus, batch.cameras.focus):
        assert (tensor.device.type, tensor.dtype) == ("meta", torch.float16)
    assert (batch.index.device.type, batch.index.dtype) == ("meta", torch.int64)
    assert batch.scenes == ("s/1",)


def test_lightning_moves_batches() -> None:
    batch = move_data_to_device(collate([make_sample(1)]), torch.device("meta"))
    assert isinstance(batch, RefocusBatch)
    assert batch.cameras.bokeh.device.type == "meta"


def test_batches_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        collate([make_sample(1)]).index = torch.zeros(1)


def test_a_part_is_the_batch_of_its_samples() -> None:
    samples = [make_sample(number, evaluated=True) for number in (3, 7, 9)]
    part, expected = collate(samples).part(1, 3), collate(samples[1:])
    for name, value in vars(expected).items():
        found = getattr(part, name)
        if isinstance(value, torch.Tensor):
            assert torch.equal(found, value), name
    assert torch.equal(part.cameras.focus, expected.cameras.focus)
    assert torch.equal(part.cameras.bokeh, expected.cameras.bokeh)
    assert (part.scenes, part.subtasks, part.sources) == (expected.scenes, expected.subtasks, expected.sources)
    assert collate([make_sample(1)]).part(0, 1).all_in_focus is None


def test_what_one_sample_lacks_the_batch_lacks() -> None:
    """A stack of those that have it would belong to other samples."""
    batch = collate([make_sample(1, evaluated=True), make_sample(2)])
    assert batch.all_in_focus is None
    assert batch.exact_disparity is None
