"""Fitting a photo of any size and aspect into the model's frame: scaled and padded, never stretched or cropped."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


def resize(image_BCHW: Tensor, size: tuple[int, int]) -> Tensor:
    """Scale to ``size`` (height, width) by antialiased bicubic interpolation, clamped to [0, 1].

    Examples:
        >>> resize(torch.rand(1, 3, 96, 64), (48, 32)).shape
        torch.Size([1, 3, 48, 32])
    """
    if image_BCHW.shape[-2:] == torch.Size(size):
        return image_BCHW
    return F.interpolate(image_BCHW, size, mode="bicubic", antialias=True, align_corners=False).clamp_(0, 1)


def same_frame(size: tuple[int, int], other: tuple[int, int], tolerance: float = 0.02) -> bool:
    """Whether two sizes (height, width) have the same aspect up to a relative tolerance, which covers rounding."""
    return abs(size[1] * other[0] - size[0] * other[1]) <= tolerance * size[0] * other[1]


@dataclass(frozen=True)
class Frame:
    """The place of one photo in the frame that the model solves.

    Args:
        size: Height and width of the photo.
        content: Height and width of the scaled photo, which fills the frame's upper left corner.
        padded: Height and width of the frame: `content` rounded up to whole tokens.
        short_side: The model's trained short side.

    Examples:
        >>> frame = Frame.fit((1000, 1500), short_side=512, multiple=16)
        >>> frame.content, frame.padded
        ((512, 768), (512, 768))
    """

    size: tuple[int, int]
    content: tuple[int, int]
    padded: tuple[int, int]
    short_side: int

    @classmethod
    def fit(cls, size: tuple[int, int], short_side: int, multiple: int, long_side: int | None = None) -> Frame:
        """Scale so that the short side is the trained one, unless the long side would pass its limit.

        Photos down to half the trained size keep their size: enlarging blurs, and the model would undo that blur.

        Args:
            size: Height and width of the photo, at least 1.
            short_side: Trained short side in pixels.
            multiple: Pixels per token; the frame is a whole number of tokens high and wide.
            long_side: Largest long side of the scaled photo; no limit by default.

        Raises:
            ValueError: If a number is not positive or the limit lies below the short side.
        """
        if min(*size, short_side, multiple) < 1 or (long_side is not None and long_side < short_side):
            raise ValueError(f"a frame cannot have these sizes: {size=}, {short_side=}, {multiple=}, {long_side=}")
        scale = min(max(min(size), short_side / 2), short_side) / min(size)
        if long_side is not None:
            scale = min(scale, long_side / max(size))
        height, width = (max(1, round(side * scale)) for side in size)
        return cls(
            size=size,
            content=(height, width),
            padded=(-(-height // multiple) * multiple, -(-width // multiple) * multiple),
            short_side=short_side,
        )

    def to_model(self, image_BCHW: Tensor) -> Tensor:
        """Scale a full-size image or map and pad it by repeating its last row and column: ``(B, C, *padded)``."""
        scaled = resize(image_BCHW, self.content)
        down, right = self.padded[0] - self.content[0], self.padded[1] - self.content[1]
        return F.pad(scaled, (0, right, 0, down), mode="replicate")

    def from_model(self, frame_BCHW: Tensor) -> Tensor:
        """Crop the padding off an image in the model's frame: ``(B, C, *content)``."""
        return frame_BCHW[..., : self.content[0], : self.content[1]]

    def focus(self, focus: tuple[float, float]) -> tuple[float, float]:
        """A focus point of the photo (fractions of width, height) as fractions of the padded frame."""
        return focus[0] * self.content[1] / self.padded[1], focus[1] * self.content[0] / self.padded[0]

    def bokeh(self, level: float) -> float:
        """Bokeh level in the frame: scaled by the frame's short side over the trained one."""
        return level * min(self.content) / self.short_side
