"""Layered scenes: cut-outs of photos before a photo, with exact disparity that follows what the picture shows.

A pinhole camera at some height looks along a flat ground. In its picture the ground's disparity (inverse depth) grows
linearly from zero at the horizon to the lower edge, and an object of height S (in camera heights) that stands on the
ground with its foot y pixels below the horizon is S y pixels tall and has the disparity of its foot: the nearer, the
larger and the lower, and the nearer covers the farther. These are the cues that an estimate of depth can use.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from diffcam.data.schema import Scene
from diffcam.simulation.draws import Draws
from diffcam.simulation.layered.silhouettes import HANGING, STANDING, Silhouette
from diffcam.simulation.textures.photos import PhotoTextures, Textures

FAR_GROUND = 0.04
"""Ground nearer to the horizon than this share of its depth in the frame is left to the backdrop."""


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


def composite(colour: np.ndarray, disparity: np.ndarray, layers: Sequence[Layer]) -> None:
    """Paint layers over a picture in place, in the order given (far to near).

    Colours mix by alpha; disparity does not mix, an object owns the pixels that it covers by half or more.

    Args:
        colour: float32 (H, W, 3).
        disparity: float32 (H, W).
        layers: What to paint.
    """
    height, width = disparity.shape
    for layer in layers:
        y0, x0 = max(layer.top, 0), max(layer.left, 0)
        y1, x1 = min(layer.top + layer.alpha.shape[0], height), min(layer.left + layer.alpha.shape[1], width)
        if y1 <= y0 or x1 <= x0:
            continue
        frame = np.s_[y0:y1, x0:x1]
        box = np.s_[y0 - layer.top : y1 - layer.top, x0 - layer.left : x1 - layer.left]
        alpha = layer.alpha[box][..., None]
        colour[frame] = alpha * layer.colour[box] + (1 - alpha) * colour[frame]
        disparity[frame] = np.where(layer.alpha[box] >= 0.5, layer.disparity[box], disparity[frame])


class LayeredScenes:
    """An endless sequence of layered scenes; scene ``i`` depends on (textures, size, seed, i) alone.

    Args:
        textures: Where surfaces come from.
        size: Height and width of the scenes in pixels.
        seed: Names the sequence.
        objects: Least and most objects in a scene.
        kind: ``Scene.kind`` of what is made: "photo" or "ai".
    """

    def __init__(
        self,
        textures: Textures,
        size: tuple[int, int] = (384, 384),
        seed: int = 0,
        objects: tuple[int, int] = (4, 9),
        kind: str = "photo",
    ) -> None:
        self.textures = textures
        self.size = size
        self.seed = seed
        self.objects = objects
        self.kind = kind

    @classmethod
    def from_folder(cls, folder: str | Path, size: tuple[int, int] = (384, 384), seed: int = 0) -> LayeredScenes:
        """Layered scenes made of the photos below a folder, which are all opened here."""
        return cls(PhotoTextures.from_folder(folder, short_side=2 * min(size)), size, seed)

    def __getitem__(self, index: int) -> Scene:
        """Scene number ``index``, any non-negative integer."""
        colour, disparity = self.draw(Draws("layered", self.seed, index))
        return Scene(
            key=f"{index:06d}",
            image=torch.from_numpy(colour).permute(2, 0, 1).contiguous(),
            disparity=torch.from_numpy(disparity)[None],
            source="layered",
            kind=self.kind,
            metadata={"seed": self.seed, "index": index},
        )

    def draw(self, draws: Draws) -> tuple[np.ndarray, np.ndarray]:
        """Colours float32 (H, W, 3) and disparity float32 (H, W), both in [0, 1]; disparity reaches 0 and 1."""
        stage = _Stage.draw(draws, self.size[0])
        colour, disparity = self._background(draws, stage)
        nearness = np.sort(draws.uniforms((draws.integer(*self.objects),), 0.05, 1.0) ** 1.2)
        for near in nearness:
            if stage.has_ground:
                layer = self._standing(draws, stage, float(near))
                _shade_ground(colour, layer)
            else:
                layer = self._hanging(draws, stage, float(near))
            composite(colour, disparity, [layer])
        if draws.chance(0.35):
            composite(colour, disparity, [self._hanging(draws, stage, draws.uniform(0.9, 1.4))])
        disparity -= disparity.min()
        disparity /= max(float(disparity.max()), 1e-6)
        return colour, disparity

    def _background(self, draws: Draws, stage: _Stage) -> tuple[np.ndarray, np.ndarray]:
        """Backdrop with, in most scenes, a ground before it."""
        height, width = self.size
        colour = self.textures.backdrop(draws, height, width).astype(np.float32) / 255
        below = np.clip((np.arange(height, dtype=np.float32) + 0.5 - stage.horizon) / stage.depth, 0, None)
        tilt = draws.uniform(-0.06, 0.06) if draws.chance(0.5) else 0.0
        backdrop = stage.backdrop + abs(tilt) + tilt * np.linspace(-1, 1, width, dtype=np.float32)
        if not stage.has_ground:
            return colour, np.broadcast_to(backdrop, (height, width)).astype(np.float32).copy()
        ground = below[:, None] >= np.maximum(backdrop, FAR_GROUND)[None]
        disparity = np.where(ground, below[:, None], backdrop[None]).astype(np.float32)
        if stage.textured:
            surface = self.textures.surface(draws, height, width).astype(np.float32) / 255
            colour = np.where(ground[..., None], _ground_colour(surface, stage, height, width), colour)
        return colour, disparity

    def _standing(self, draws: Draws, stage: _Stage, near: float) -> Layer:
        """An object on the ground; ``near`` in (0, 1] is its disparity relative to the ground's at the lower edge."""
        near = stage.backdrop + max(near, FAR_GROUND) * (1.25 - stage.backdrop)
        tall = draws.uniform(0.35, 1.5)
        box_height = max(6, round(tall * near * stage.depth))
        box_width = max(4, round(box_height * draws.uniform(0.45, 1.3)))
        foot = stage.horizon + near * stage.depth
        left = round(draws.uniform(0.0, 1.0) * self.size[1] - box_width / 2)
        return self._layer(draws, draws.choice(STANDING), near, (round(foot) - box_height, left, box_height, box_width))

    def _hanging(self, draws: Draws, stage: _Stage, near: float) -> Layer:
        """An object that reaches into the frame or floats in it, the larger the nearer."""
        height, width = self.size
        near = stage.backdrop + near * (1.25 - stage.backdrop)
        box_height = max(8, round(height * near * draws.uniform(0.35, 0.75)))
        box_width = max(8, round(box_height * draws.uniform(0.7, 1.4)))
        silhouette = draws.choice(HANGING)
        top = round(draws.uniform(0.05, 0.95) * height - box_height / 2)
        if silhouette is HANGING[0]:
            left = -round(0.05 * box_width)
        else:
            left = round(draws.uniform(0, 1) * width - box_width / 2)
        layer = self._layer(draws, silhouette, near, (top, left, box_height, box_width))
        if silhouette is HANGING[0] and draws.chance(0.5):
            return Layer(
                top,
                width - box_width + round(0.05 * box_width),
                *(part[:, ::-1] for part in (layer.colour, layer.alpha, layer.disparity)),
            )
        return layer

    def _layer(self, draws: Draws, silhouette: Silhouette, near: float, box: tuple[int, int, int, int]) -> Layer:
        """Cut a silhouette out of a surface, light it and give it a slight relief."""
        top, left, height, width = box
        alpha = silhouette(draws, height, width)
        colour = self.textures.surface(draws, height, width).astype(np.float32) / 255
        across = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
        tint = draws.uniform(0.75, 1.1) * draws.uniforms((3,), 0.8, 1.2).astype(np.float32)
        light = tint * (1 + draws.uniform(-0.25, 0.25) * across)
        bulge = draws.uniform(0.0, 0.05) * near * np.sqrt(np.clip(1 - across[..., 0] ** 2, 0, 1))
        disparity = np.broadcast_to(np.float32(near) + bulge, (height, width)).astype(np.float32)
        return Layer(top, left, np.clip(colour * light, 0, 1).astype(np.float32), alpha, disparity)


@dataclass(frozen=True)
class _Stage:
    """Where the ground lies in a frame.

    Args:
        horizon: Row of the horizon in pixels.
        depth: Pixels from the horizon to the lower edge: disparity 1 before normalisation.
        backdrop: Disparity of what stands behind everything: 0 outdoors, larger for a wall.
        has_ground: False where all is seen from so far above or below that no ground is in the frame.
        textured: The ground has a surface of its own, in perspective; otherwise it is the lower part of the backdrop.
    """

    horizon: float
    depth: float
    backdrop: float
    has_ground: bool
    textured: bool

    @classmethod
    def draw(cls, draws: Draws, height: int) -> _Stage:
        horizon = draws.uniform(0.2, 0.6) * height
        backdrop = 0.0 if draws.chance(0.6) else draws.uniform(0.1, 0.4)
        return cls(horizon, height - horizon, backdrop, draws.chance(0.85), draws.chance(0.7))


def _ground_colour(surface: np.ndarray, stage: _Stage, height: int, width: int) -> np.ndarray:
    """A surface seen in perspective, (height, width, 3); each row reads the texture level that it can resolve."""
    below = np.clip(np.arange(height) + 0.5 - stage.horizon, FAR_GROUND * stage.depth, None)
    distance = stage.depth / below
    across = (np.arange(width) + 0.5 - width / 2)[None] * distance[:, None] + width / 2
    along = np.broadcast_to((stage.depth * 1.5 * (distance - 1))[:, None], across.shape)
    grid = np.stack([2 * across / surface.shape[1] - 1, 1 - 2 * along / surface.shape[0]], -1)
    level = np.clip(np.round(np.log2(distance**1.5 * 1.2)), 0, 4).astype(int)
    texture_B3HW = torch.from_numpy(surface).permute(2, 0, 1)[None]
    grid_BHW2 = torch.from_numpy(grid.astype(np.float32))[None]
    colour = np.empty((height, width, 3), dtype=np.float32)
    for step in range(level.max() + 1):
        rows = np.flatnonzero(level == step)
        sampled = F.grid_sample(texture_B3HW, grid_BHW2[:, rows], "bilinear", "reflection", align_corners=False)
        colour[rows] = sampled[0].permute(1, 2, 0).numpy()
        texture_B3HW = F.avg_pool2d(texture_B3HW, 2)
    return colour


def _shade_ground(colour: np.ndarray, layer: Layer) -> None:
    """Darken the ground around an object's foot, in place: what makes it stand rather than float."""
    height, width = colour.shape[:2]
    box_height, box_width = layer.alpha.shape
    foot, middle = layer.top + box_height, layer.left + box_width / 2
    radius_y, radius_x = 0.09 * box_width, 0.6 * box_width
    y0, y1 = max(0, int(foot - 2 * radius_y)), min(height, int(foot + 2 * radius_y) + 1)
    x0, x1 = max(0, int(middle - 2 * radius_x)), min(width, int(middle + 2 * radius_x) + 1)
    if y1 <= y0 or x1 <= x0:
        return
    y = (np.arange(y0, y1, dtype=np.float32)[:, None] - foot) / radius_y
    x = (np.arange(x0, x1, dtype=np.float32)[None] - middle) / radius_x
    colour[y0:y1, x0:x1] *= 1 - 0.45 * np.exp(-2 * (x * x + y * y))[..., None]
