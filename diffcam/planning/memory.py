"""What training a task costs: operations and memory of a step, counted on the meta device before anything is loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from diffcam.camera import CameraBatch
from diffcam.data.batch import RefocusBatch
from diffcam.models.adapters import trained_parameters
from diffcam.models.conditions import PhotoTokens
from diffcam.models.refocus import RefocusModel
from diffcam.planning.operations import count, count_flops, meta_copy, peak_memory, size
from diffcam.tasks.refocus import RefocusTask

QUANTIZED_BYTES = {"8bit": 1.0, "4bit": 0.5 + 4 / 64}
"""Bytes a weight of the blocks takes; NF4 keeps one float32 scale for every 64."""


@dataclass(frozen=True)
class MemoryPlan:
    """Bytes on one device while it trains.

    Args:
        weights: The frozen transformer, the codec and what else the model has, such as a restoration.
        masters: The trained weights.
        average: Of the trained weights, where one is kept.
        activations: What the forward pass keeps for the backward pass, with the temporary tensors at the peak.
    """

    weights: int
    masters: int
    gradients: int
    optimizer: int
    average: int
    activations: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(astuple(self))


class MetaStep:
    """Forward and backward pass over one batch of pairs, without data; the weights are not touched."""

    def __init__(self, task: RefocusTask, batch_size: int, resolution: tuple[int, int]) -> None:
        self._task = task
        self._model: RefocusModel = meta_copy(task.model)
        self._model.transformer.compile_blocks(None)
        with torch.device("meta"):
            images = torch.zeros(batch_size, 3, *resolution)
            self._batch = RefocusBatch(
                reference=images,
                targets=torch.zeros(batch_size, 2, 3, *resolution),
                disparity=images[:, :1].clone(),
                cameras=CameraBatch(torch.zeros(batch_size, 2, 2), torch.zeros(batch_size, 2)),
                all_in_focus=None,
                exact_disparity=None,
                index=torch.zeros(batch_size, dtype=torch.int64, device="cpu"),  # real: noise is drawn from it
                scenes=("",) * batch_size,
                subtasks=("train",) * batch_size,
                sources=("",) * batch_size,
            )

    def _loss(self) -> Tensor:
        model, self._task.model = self._task.model, self._model
        try:
            return self._task.losses(self._batch).total
        finally:
            self._task.model = model

    def peak_memory(self) -> int:
        """Bytes of activations and temporary tensors, with blocks checkpointed as configured."""
        batch = self._batch
        inputs = [batch.reference, batch.targets, batch.disparity, batch.cameras.focus, batch.cameras.bokeh]
        return peak_memory(self._loss, self._model, inputs)

    def flops(self) -> int:
        """Operations, without what checkpointing computes twice."""
        transformer = self._model.transformer
        checkpointed, transformer.checkpointed_blocks = transformer.checkpointed_blocks, 0
        counted = count_flops(self._loss)
        transformer.checkpointed_blocks = checkpointed
        return counted


def click_flops(model: RefocusModel, resolution: tuple[int, int]) -> tuple[int, int]:
    """Operations of the transformer for opening a photo, and for one sampling step, on the meta device.

    Examples:
        >>> opening, step = click_flops(diffcam.models.embedded_model(width=64).to("meta"), (512, 512))
        >>> f"{opening / 1e9:.1f} and {step / 1e9:.1f} GFLOP"
        '6.6 and 4.7 GFLOP'
    """
    transformer, channels, timestep = model.transformer, model.transformer.channels, torch.zeros(1, device="meta")
    grid = resolution[0] // model.token_pixels, resolution[1] // model.token_pixels
    tokens = torch.zeros(1, grid[0] * grid[1], channels.tokens, device="meta")
    cues, defocus_cues = (
        tokens.new_zeros(1, tokens.shape[1], features) if features else None
        for features in (channels.cues, channels.defocus)
    )
    cameras = CameraBatch(torch.zeros(1, 2, device="meta"), timestep)
    opened: list[PhotoTokens] = []

    def open_photo() -> Tensor:
        opened.append(transformer.encode_photo_tokens(tokens, tokens, grid, cues))
        return timestep

    opening = count_flops(open_photo, backward=False)
    step = count_flops(lambda: transformer(tokens, timestep, cameras, opened[0], defocus_cues), backward=False)
    return opening, step


def click_memory(model: RefocusModel, resolution: tuple[int, int], quantization: str | None = None) -> tuple[int, int]:
    """Bytes of a model's weights, adapters in the base's data type, and of what a first click holds besides at once.

    Args:
        model: On the meta device.
        resolution: Height and width in pixels that the photo is solved at.
        quantization: Of the frozen blocks, see :func:`diffcam.models.load_flux_transformer`.
    """
    codec, transformer, trained = model.codec, model.transformer, list(trained_parameters(model).values())
    weights = _frozen_bytes(transformer, quantization) + size(model.parameters()) - size(transformer.parameters())
    with torch.device("meta"):
        image, disparity = torch.zeros(1, 3, *resolution), torch.zeros(1, 1, *resolution)
        noise = torch.zeros(1, codec.channels, *(side // codec.downscale for side in resolution))
        cameras = CameraBatch(torch.zeros(1, 2), torch.zeros(1))
    given = [image, disparity, noise, cameras.focus, cameras.bokeh]

    def click() -> Tensor:
        return model.decode(model.sample(cameras, model.encode_photo(image, disparity), noise, 1))

    return weights + count(trained) * transformer.dtype.itemsize, peak_memory(click, model, given, backward=False)


def remembered_bytes(model: RefocusModel, resolution: tuple[int, int]) -> int:
    """Keys and values that cached attention keeps of one photo."""
    tokens = 2 * (resolution[0] // model.token_pixels) * (resolution[1] // model.token_pixels)
    width = model.transformer.base.inner_dim
    return 2 * len(model.transformer.blocks) * tokens * width * model.transformer.dtype.itemsize


def plan_memory(
    task: RefocusTask,
    activations: int,
    averaged: bool,
    quantization: str | None = None,
    shards: int = 1,
) -> MemoryPlan:
    """Memory of one device.

    Args:
        activations: Of a batch, see :class:`MetaStep`.
        shards: Devices that the transformer is spread over; each gathers two blocks at a time.

    Examples:
        >>> task = RefocusTask(diffcam.models.embedded_model(width=64))
        >>> plan = plan_memory(task, MetaStep(task, batch_size=4, resolution=(256, 256)).peak_memory(), averaged=True)
        >>> round(plan.optimizer / plan.masters), f"{plan.total / 1e9:.1f} GB"
        (2, '0.4 GB')
    """
    transformer, trained = task.model.transformer, list(trained_parameters(task).values())
    masters, besides = size(trained), size(task.model.parameters()) - size(transformer.parameters())
    gathered = 2 * max(size(block.parameters()) for block in transformer.blocks) if shards > 1 else 0
    return MemoryPlan(
        weights=_frozen_bytes(transformer, quantization) // shards + gathered + besides,
        masters=masters // shards,
        gradients=masters // shards,
        optimizer=int(count(trained) * optimizer_bytes(task.optimizer)) // shards,
        average=masters // shards if averaged else 0,
        activations=activations,
    )


def optimizer_bytes(factory: Callable[[Any], torch.optim.Optimizer], weights: int = 4096) -> float:
    """Bytes of state that an optimizer keeps for each trained weight, seen on a small one."""
    parameter = nn.Parameter(torch.zeros(weights))
    parameter.grad = torch.zeros(weights)
    optimizer = factory([("weight", parameter)])
    optimizer.step()
    return size(value for value in optimizer.state[parameter].values() if isinstance(value, Tensor)) / weights


def _frozen_bytes(transformer: Any, quantization: str | None) -> int:
    """What a transformer's frozen weights take, the blocks' matrices quantised."""
    frozen = size(weight for weight in transformer.parameters() if not weight.requires_grad)
    frozen += size(transformer.buffers())
    if quantization is None:
        return frozen
    blocks: Sequence[nn.Module] = transformer.blocks
    matrices = [
        weight for block in blocks for weight in block.parameters() if weight.ndim == 2 and not weight.requires_grad
    ]
    return frozen - size(matrices) + int(count(matrices) * QUANTIZED_BYTES[quantization])
