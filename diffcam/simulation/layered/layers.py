"""What a layered scene is painted with: one object, its place in the frame, and the whole of its surface."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from diffcam.data.schema import Surface


@dataclass(frozen=True)
class Layer:
    """One object: a box of the frame with its colours, coverage and disparity.

    Args:
        top, left: Place of the box in the frame, in pixels; may lie outside it.
        colour: float32 (h, w, 3), display values in [0, 1].
        alpha: float32 (h, w) in [0, 1].
        disparity: float32 (h, w).
    """

    top: int
    left: int
    colour: np.ndarray
    alpha: np.ndarray
    disparity: np.ndarray

    def surface(self, size: tuple[int, int], least: float, span: float) -> Surface | None:
        """The same in the whole frame, its disparity less ``least`` over ``span``; None where none of it is inside."""
        y0, x0 = max(self.top, 0), max(self.left, 0)
        y1, x1 = min(self.top + self.alpha.shape[0], size[0]), min(self.left + self.alpha.shape[1], size[1])
        if y1 <= y0 or x1 <= x0:
            return None
        box = np.s_[y0 - self.top : y1 - self.top, x0 - self.left : x1 - self.left]
        around = (y0, size[0] - y1), (x0, size[1] - x1)
        disparity = ((self.disparity[box] - least) / span).clip(0, 1)
        # Around the box, where it covers nothing, goes on what lies in it: its discs are then of few sizes.
        whole = np.pad(disparity, around, constant_values=float(np.median(disparity)))
        colour = np.pad(self.colour[box], (*around, (0, 0)))
        parts = colour.transpose(2, 0, 1), np.pad(self.alpha[box], around)[None], whole[None]
        return Surface(*(torch.from_numpy(np.ascontiguousarray(part, np.float32)) for part in parts))


def composite(colour: np.ndarray, disparity: np.ndarray, layer: Layer) -> None:
    """Paint a layer over a picture in place; scenes are painted from far to near.

    Colours (H, W, 3) mix by alpha; disparity (H, W) does not: an object owns the pixels that it covers by half or more.
    """
    height, width = disparity.shape
    y0, x0 = max(layer.top, 0), max(layer.left, 0)
    y1, x1 = min(layer.top + layer.alpha.shape[0], height), min(layer.left + layer.alpha.shape[1], width)
    if y1 <= y0 or x1 <= x0:
        return
    frame = np.s_[y0:y1, x0:x1]
    box = np.s_[y0 - layer.top : y1 - layer.top, x0 - layer.left : x1 - layer.left]
    alpha = layer.alpha[box][..., None]
    colour[frame] = alpha * layer.colour[box] + (1 - alpha) * colour[frame]
    disparity[frame] = np.where(layer.alpha[box] >= 0.5, layer.disparity[box], disparity[frame])
