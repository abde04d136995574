"""Monocular estimation of disparity: how near each part of a photo is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from diffcam.errors import DiffcamError
from diffcam.photo.disparity import normalise_disparity
from diffcam.pretrained.hub import why_not

IMAGE_MEAN, IMAGE_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of ImageNet's R, G and B, which normalise the network's input."""

MAX_ASPECT = 4
"""Long side of the network's input over ``short_side``, at most, as attention is quadratic in the area; chosen."""


class DepthEstimator(Protocol):
    """From photos to disparity."""

    def __call__(self, image_B3HW: Tensor) -> Tensor:
        """Disparity ``(B, 1, H, W)`` in [0, 1], 0 farthest, of display values ``(B, 3, H, W)`` in [0, 1]."""


@dataclass(eq=False)
class DepthAnything:
    """Depth Anything V2 through transformers; loaded when first called.

    Args:
        model: Name on the hub or a folder, in transformers' format with safetensors weights.
        short_side: Short side of the network's input in pixels; 518, as it was trained.
        batch_size: Photos in one pass of the network.

    Raises:
        ValueError: If ``short_side`` or ``batch_size`` is not positive.
    """

    model: str = "depth-anything/Depth-Anything-V2-Small-hf"
    device: str = "cpu"
    short_side: int = 518
    batch_size: int = 8

    def __post_init__(self) -> None:
        if self.short_side < 1 or self.batch_size < 1:
            raise ValueError(f"short_side and batch_size must be positive, got {self.short_side}, {self.batch_size}")

    @cached_property
    def _network(self) -> Any:
        from transformers import AutoModelForDepthEstimation

        try:
            network = AutoModelForDepthEstimation.from_pretrained(self.model, use_safetensors=True)
        except (OSError, ValueError) as error:
            raise DiffcamError(f"depth model {self.model}: cannot be loaded: {why_not(self.model, error)}") from error
        return network.eval().requires_grad_(False).to(self.device)

    def __getstate__(self) -> dict[str, Any]:
        # Worker processes load the network themselves.
        return {name: value for name, value in self.__dict__.items() if name != "_network"}

    @torch.no_grad()
    def __call__(self, image_B3HW: Tensor) -> Tensor:
        """Disparity ``(B, 1, H, W)`` on the device of the input, its least 0 and its greatest 1 in each image.

        Where the network sees no depth at all it is 0 throughout.
        """
        height, width = image_B3HW.shape[2:]
        size = input_size(height, width, self.short_side, self._network.config.patch_size)
        mean, deviation = (torch.tensor(values, device=self.device).view(3, 1, 1) for values in (IMAGE_MEAN, IMAGE_STD))
        estimated = []
        for part_B3HW in image_B3HW.split(self.batch_size):
            part_B3HW = part_B3HW.to(self.device, torch.float32)
            resized = F.interpolate(part_B3HW, size, mode="bicubic", antialias=True, align_corners=False)
            near_B1hw = self._network(pixel_values=(resized - mean) / deviation).predicted_depth[:, None].float()
            estimated.append(F.interpolate(near_B1hw, (height, width), mode="bilinear", align_corners=False))
        return normalise_disparity(torch.cat(estimated).cpu()).to(image_B3HW.device)


def input_size(height: int, width: int, short_side: int, multiple: int) -> tuple[int, int]:
    """Height and width that the network is given: the aspect kept, both near a multiple of its patch size."""
    scale = min(short_side / min(height, width), MAX_ASPECT * short_side / max(height, width))
    return tuple(max(multiple, round(side * scale / multiple) * multiple) for side in (height, width))  # type: ignore[return-value]
