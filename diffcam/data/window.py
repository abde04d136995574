"""Windows: the rectangle of a scene that all images of a sample show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from diffcam.data.randomness import derived_generator

Size = tuple[int, int]
"""Height and width in pixels."""


@dataclass(frozen=True)
class Window:
    """A rectangle of a scene, resized to the training resolution.

    Args:
        scene: Size of the scene.
        top, left, height, width: Its first row and column, and how many of each.
        resolution: Size that the rectangle is resized to.
        flip: Whether it is mirrored left to right.
        frame: Size of the whole picture that the window is a piece of, at its scale; None: the window is the picture.
    """

    scene: Size
    top: int
    left: int
    height: int
    width: int
    resolution: Size
    flip: bool = False
    frame: Size | None = None

    def apply(self, image_CHW: Tensor) -> Tensor:
        """Cut, mirror and resize with antialiasing: ``(C, *scene)`` to ``(C, *resolution)``."""
        part = image_CHW[:, self.top : self.top + self.height, self.left : self.left + self.width]
        if self.flip:
            part = part.flip(-1)
        if part.shape[1:] == self.resolution:
            return part.contiguous()
        resized = functional.interpolate(part[None], self.resolution, mode="bilinear", antialias=True)
        return resized[0].clamp(0, 1)

    @property
    def short_side(self) -> int:
        """Short side in pixels of the picture that bokeh levels refer to."""
        return min(self.frame or self.resolution)

    @property
    def magnification(self) -> float:
        """Bokeh level in the picture over bokeh level in the scene: cropping magnifies the same blur."""
        pixels_of_scene = self.short_side * self.height / self.resolution[0]
        return min(self.scene) / pixels_of_scene

    def locate(self, focus: tuple[float, float]) -> tuple[float, float]:
        """A focus point, fractions of the scene, as fractions of the window, clamped to its border."""
        x = (focus[0] * self.scene[1] - self.left) / self.width
        y = (focus[1] * self.scene[0] - self.top) / self.height
        x, y = min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0)
        return (1.0 - x if self.flip else x), y


class RandomWindow:
    """Random crop, magnification and mirroring.

    Args:
        resolution: Height and width of the whole picture.
        zoom: Largest magnification over the largest window of that shape, at least 1.
        flip: Whether half of the windows are mirrored left to right.
        piece: Side of a square piece of the picture that is cut at random and shown in its place, with the picture's
            bokeh levels; None: no piece is cut.

    Raises:
        ValueError: If the zoom is below 1, or the piece does not fit in the picture.
    """

    def __init__(self, resolution: Size, zoom: float = 1.0, flip: bool = True, piece: int | None = None) -> None:
        if not zoom >= 1.0:
            raise ValueError(f"zoom must be at least 1, got {zoom}")
        if piece is not None and not 1 <= piece <= min(resolution):
            raise ValueError(f"a piece of {piece} pixels does not fit in a picture of {resolution[0]}x{resolution[1]}")
        self.resolution = resolution
        self.zoom = zoom
        self.flip = flip
        self.shown = resolution if piece is None else (piece, piece)

    def __call__(self, scene: Size, generator: torch.Generator) -> Window:
        """Draw a window of a scene of this size."""
        zoom, down, right, mirror = torch.rand(4, generator=generator).tolist()
        height, width = _fit(scene, self.resolution, self.shown, 1.0 + zoom * (self.zoom - 1.0))
        top = int(down * (scene[0] - height + 1))
        left = int(right * (scene[1] - width + 1))
        return Window(scene, top, left, height, width, self.shown, self.flip and mirror < 0.5, self.resolution)


@dataclass(frozen=True)
class Buckets:
    """Windows of several shapes; the samples of one batch share theirs, so that they stack.

    Args:
        windows: One for each shape.
        batch: Number of samples that share a shape: the global batch, so that no process waits for another.
        seed: Of the order of shapes.
    """

    windows: Sequence[RandomWindow]
    batch: int
    seed: int

    def at(self, index: int) -> RandomWindow:
        """The window of a sample; shapes are equally likely and depend on the index alone."""
        generator = derived_generator("bucket", self.seed, index // self.batch)
        return self.windows[int(torch.randint(len(self.windows), (), generator=generator))]


def centred_window(scene: Size, resolution: Size, focus: tuple[float, float] = (0.5, 0.5)) -> Window:
    """The largest window of the resolution's aspect, moved from the centre as little as holding a focus point needs."""
    height, width = _fit(scene, resolution, resolution, 1.0)
    starts = []
    for length, side, point in ((scene[0], height, focus[1] * scene[0]), (scene[1], width, focus[0] * scene[1])):
        pixel = min(int(point), length - 1)
        starts.append(min(max((length - side) // 2, pixel - side + 1), pixel))
    return Window(scene, starts[0], starts[1], height, width, resolution)


def _fit(scene: Size, resolution: Size, shown: Size, zoom: float) -> Size:
    """Rows and columns of the scene that are shown, as the picture or as a piece of it of the size ``shown``.

    The picture is the largest of the resolution's aspect in the scene, over ``zoom``.
    """
    scale = min(scene[0] / resolution[0], scene[1] / resolution[1]) / zoom
    height, width = (max(1, min(side, round(target * scale))) for side, target in zip(scene, shown, strict=True))
    return height, width
