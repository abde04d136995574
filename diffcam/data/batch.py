"""What a loader yields: samples and batches of reference, targets, disparity and cameras."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from diffcam.camera import Camera, CameraBatch


@dataclass(frozen=True)
class RefocusSample:
    """One sample, before it is collated; what is not named here is as in :class:`RefocusBatch`, without B.

    Args:
        cameras: K cameras.
        scene, subtask, source: One name each.
        reference_blur: Focus disparity and bokeh level that the reference was made with, where known; it is not
            collated: only the benchmark's oracles may look.

    Examples:
        >>> image, camera = torch.rand(3, 48, 64), Camera((0.5, 0.5), 8)
        >>> sample = RefocusSample(image, image[None], torch.rand(1, 48, 64), (camera,), 0, "s/0", "refocus", "camera")
        >>> sample.all_in_focus is None
        True
    """

    reference: Tensor
    targets: Tensor
    disparity: Tensor
    cameras: tuple[Camera, ...]
    index: int
    scene: str
    subtask: str
    source: str
    all_in_focus: Tensor | None = None
    exact_disparity: Tensor | None = None
    reference_blur: tuple[float, float] | None = None


@dataclass(frozen=True)
class RefocusBatch:
    """A batch; images are display values in [0, 1].

    Args:
        reference: ``(B, 3, H, W)``, the photo to refocus.
        targets: ``(B, K, 3, H, W)``; K is 2 in training (a stacking pair), 1 in validation and test.
        disparity: ``(B, 1, H, W)`` in [0, 1] as the model sees it, after dropout or perturbation.
        cameras: Focus ``(B, K, 2)`` and bokeh ``(B, K)``.
        all_in_focus: ``(B, 3, H, W)``; None in training.
        exact_disparity: ``(B, 1, H, W)`` before any perturbation; None in training.
        index: ``(B,)`` int64, global sample index (training) or sample number (validation, test).
        scenes: B scene keys.
        subtasks: B names: ``train``, ``refocus``, ``add_bokeh`` or ``remove_bokeh``.
        sources: B names of the scenes' sources.

    Examples:
        >>> image, camera = torch.rand(3, 48, 64), Camera((0.5, 0.5), 8)
        >>> sample = RefocusSample(image, image[None], torch.rand(1, 48, 64), (camera,), 0, "s/0", "refocus", "camera")
        >>> batch = collate([sample, sample])
        >>> len(batch), batch.targets.shape, batch.cameras.bokeh.shape
        (2, torch.Size([2, 1, 3, 48, 64]), torch.Size([2, 1]))
    """

    reference: Tensor
    targets: Tensor
    disparity: Tensor
    cameras: CameraBatch
    all_in_focus: Tensor | None
    exact_disparity: Tensor | None
    index: Tensor
    scenes: tuple[str, ...]
    subtasks: tuple[str, ...]
    sources: tuple[str, ...]

    def __len__(self) -> int:
        return self.reference.shape[0]

    def part(self, start: int, stop: int) -> RefocusBatch:
        """The batch of the samples from place ``start`` up to ``stop``."""
        parts = {name: value[start:stop] for name, value in vars(self).items() if value is not None}
        return replace(self, **parts)

    def to(
        self, device: torch.device | str | None = None, dtype: torch.dtype | None = None, non_blocking: bool = False
    ) -> RefocusBatch:
        """Move the batch to a device; a dtype is applied to the floating tensors only."""
        index = self.index.to(device=device, non_blocking=non_blocking)
        moved = self._each(lambda value: value.to(device=device, dtype=dtype, non_blocking=non_blocking))
        return replace(moved, index=index)

    def pin_memory(self) -> RefocusBatch:
        """Copy the tensors to page-locked memory, for asynchronous transfer to a GPU."""
        return self._each(lambda value: value.pin_memory())

    def _each(self, change: Callable[[Any], Any]) -> RefocusBatch:
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor | CameraBatch)}
        return replace(self, **{name: change(value) for name, value in tensors.items()})


def collate(samples: Sequence[RefocusSample]) -> RefocusBatch:
    """Stack samples of one size and one K to a batch.

    Examples:
        >>> image, camera = torch.rand(3, 48, 64), Camera((0.5, 0.5), 8)
        >>> sample = RefocusSample(image, image[None], torch.rand(1, 48, 64), (camera,), 0, "s/0", "refocus", "camera")
        >>> collate([sample, sample]).reference.shape
        torch.Size([2, 3, 48, 64])
    """
    cameras = CameraBatch(
        focus=torch.tensor([[camera.focus for camera in s.cameras] for s in samples], dtype=torch.float32),
        bokeh=torch.tensor([[camera.bokeh for camera in s.cameras] for s in samples], dtype=torch.float32),
    )
    return RefocusBatch(
        reference=torch.stack([s.reference for s in samples]),
        targets=torch.stack([s.targets for s in samples]),
        disparity=torch.stack([s.disparity for s in samples]),
        cameras=cameras,
        all_in_focus=_stack([s.all_in_focus for s in samples]),
        exact_disparity=_stack([s.exact_disparity for s in samples]),
        index=torch.tensor([s.index for s in samples], dtype=torch.int64),
        scenes=tuple(s.scene for s in samples),
        subtasks=tuple(s.subtask for s in samples),
        sources=tuple(s.source for s in samples),
    )


def _stack(values: Sequence[Tensor | None]) -> Tensor | None:
    """The values as one tensor; None if one of them is not there."""
    present = [value for value in values if value is not None]
    return torch.stack(present) if len(present) == len(values) else None
