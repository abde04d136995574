"""Layered scenes: cut-outs of photos before a photo, with exact disparity that follows what the picture shows.

A pinhole camera at some height looks along a flat ground. In its picture the ground's disparity (inverse depth) grows
linearly from zero at the horizon to the lower edge, and an object of height S (in camera heights) that stands on the
ground with its foot y pixels below the horizon is S y pixels tall and has the disparity of its foot: the nearer, the
larger and the lower, and the nearer covers the farther. These are the cues that an estimate of depth can use.
"""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from diffcam.data.schema import Scene, Surface
from diffcam.simulation.draws import Draws
from diffcam.simulation.layered.layers import Layer, composite
from diffcam.simulation.layered.silhouettes import HANGING, STANDING, Silhouette, branch
from diffcam.simulation.textures.photos import Textures

# What scenes look like: pairs are the ends of a range, single words without a unit are probabilities. All were chosen
# by eye; they are part of every layered scene, so that another value makes other shards.

HORIZON = (0.2, 0.6)
"""Row of the horizon, as a share of the frame's height."""

OUTDOORS = 0.6
"""Scenes whose backdrop is infinitely far."""

WALL = (0.1, 0.4)
"""Disparity of a backdrop that is not, in units of the ground's at the lower edge."""

TILTED, TILT = 0.5, 0.06
"""Scenes whose backdrop is turned about the vertical, and the most that its disparity changes to either side."""

GROUND, TEXTURED_GROUND = 0.85, 0.7
"""Scenes that have a ground, and grounds with a surface of their own."""

FAR_GROUND = 0.04
"""Disparity below which the ground is left to the backdrop: rows next to the horizon show it from too far away."""

NEARNESS, NEARNESS_POWER = (0.05, 1.0), 1.2
"""How far objects are from the backdrop to :data:`NEAREST`; the power makes far ones more common."""

NEAREST = 1.25
"""Largest disparity of an object in units of the ground's at the lower edge, so that feet may lie below the frame."""

IN_FRONT, IN_FRONT_NEARNESS = 0.35, (0.9, 1.4)
"""Scenes with one more object before everything, and its nearness."""

STANDING_HEIGHT, STANDING_WIDTH = (0.35, 1.5), (0.45, 1.3)
"""Of an object on the ground: height in heights of the camera, and width over height."""

HANGING_HEIGHT, HANGING_WIDTH = (0.35, 0.75), (0.7, 1.4)
"""Of an object without ground: height at disparity 1 as a share of the frame's, and width over height."""

BRIGHTNESS, TINT, SIDE_LIGHT = (0.75, 1.1), (0.8, 1.2), 0.25
"""Factors on an object's display values: on all, on each of red, green and blue, and the change to its sides."""

RELIEF = 0.05
"""Most that an object's middle is nearer than its rim, as a share of its disparity."""

SHADE = 0.45
"""Share of the light that an object takes from the ground at its foot."""


@dataclass(frozen=True)
class Stage:
    """Where the ground lies in a frame.

    Args:
        horizon: Row of the horizon in pixels.
        depth: Pixels from the horizon to the lower edge. The ground there is the unit of disparity until a scene's
            disparity is scaled to [0, 1].
        backdrop: Disparity of what stands behind everything: 0 outdoors, larger for a wall.
        has_ground: False where no ground is in the frame.
        textured: The ground has a surface of its own, in perspective; otherwise it is the lower part of the backdrop.
    """

    horizon: float
    depth: float
    backdrop: float
    has_ground: bool
    textured: bool

    @classmethod
    def draw(cls, draws: Draws, height: int) -> Stage:
        """The ground of a scene in a frame of a height in pixels."""
        horizon = draws.uniform(*HORIZON) * height
        backdrop = 0.0 if draws.chance(OUTDOORS) else draws.uniform(*WALL)
        return cls(horizon, height - horizon, backdrop, draws.chance(GROUND), draws.chance(TEXTURED_GROUND))


@dataclass(frozen=True)
class LayeredSource:
    """Layered scenes, as many as asked for; scene ``i`` depends on the other settings and i alone.

    Args:
        textures: Where surfaces come from: :class:`PhotoFolder` or :class:`ProceduralTextures`.
        size: Height and width in pixels.
        kind: ``Scene.kind``: ``photo`` for surfaces that are photos, otherwise ``ai``.
        objects: Least and most objects in a scene.
        surfaces: Whether scenes keep their surfaces whole, for exact lens pictures; shards are then larger.

    Examples:
        >>> source = LayeredSource(diffcam.simulation.ProceduralTextures(), count=10, size=(64, 96), seed=1)
        >>> scene = source.scene(3)
        >>> scene.key, scene.image.shape, scene.disparity.min().item(), scene.disparity.max().item()
        ('000003', torch.Size([3, 64, 96]), 0.0, 1.0)
    """

    textures: Textures
    count: int
    size: tuple[int, int] = (512, 512)
    _: KW_ONLY
    seed: int = 0
    kind: str = "photo"
    objects: tuple[int, int] = (4, 9)
    surfaces: bool = False

    def __len__(self) -> int:
        return self.count

    def scene(self, index: int) -> Scene:
        """Scene ``index``; its disparity reaches 0 and 1."""
        colour, disparity, surfaces = self.draw(Draws("layered", self.seed, index))
        return Scene(
            key=f"{index:06d}",
            image=torch.from_numpy(colour).permute(2, 0, 1).contiguous(),
            disparity=torch.from_numpy(disparity)[None],
            source="layered",
            kind=self.kind,
            metadata={"seed": self.seed, "index": index},
            surfaces=surfaces if self.surfaces else (),
        )

    def describe(self) -> dict[str, Any]:
        """Textures and settings; not the count, so that a run can be continued to more scenes."""
        settings = {"type": "layered", "size": list(self.size), "seed": self.seed, "kind": self.kind}
        if self.surfaces:
            settings["surfaces"] = True
        return settings | self.textures.describe()

    def draw(self, draws: Draws) -> tuple[np.ndarray, np.ndarray, tuple[Surface, ...]]:
        """Colours float32 (H, W, 3) and disparity float32 (H, W), both in [0, 1], and the surfaces from far to near.

        Disparity reaches 0 and 1 where it is seen; what is hidden is held to that range.
        """
        stage = Stage.draw(draws, self.size[0])
        colour, disparity = self._background(draws, stage)
        layers = [Layer(0, 0, colour.copy(), np.ones(self.size, np.float32), disparity.copy())]
        nearness = np.sort(draws.uniforms((draws.integer(*self.objects),), *NEARNESS) ** NEARNESS_POWER)
        for near in nearness:
            layer = (self._standing if stage.has_ground else self._hanging)(draws, stage, float(near))
            if stage.has_ground:
                foot = layer.top + layer.alpha.shape[0], layer.left + layer.alpha.shape[1] / 2
                _shade_ground(colour, (0, 0), foot, layer.alpha.shape[1])
                for behind in layers:
                    _shade_ground(behind.colour, (behind.top, behind.left), foot, layer.alpha.shape[1])
            composite(colour, disparity, layer)
            layers.append(layer)
        if draws.chance(IN_FRONT):
            layers.append(self._hanging(draws, stage, draws.uniform(*IN_FRONT_NEARNESS)))
            composite(colour, disparity, layers[-1])
        least = disparity.min()
        disparity -= least
        span = max(float(disparity.max()), 1e-6)
        disparity /= span
        whole = (layer.surface(self.size, float(least), span) for layer in layers)
        return colour, disparity, tuple(surface for surface in whole if surface is not None)

    def _background(self, draws: Draws, stage: Stage) -> tuple[np.ndarray, np.ndarray]:
        """Backdrop with, in most scenes, a ground before it."""
        height, width = self.size
        colour = self.textures.backdrop(draws, height, width).astype(np.float32) / 255
        below = np.clip((np.arange(height, dtype=np.float32) + 0.5 - stage.horizon) / stage.depth, 0, None)
        tilt = draws.uniform(-TILT, TILT) if draws.chance(TILTED) else 0.0
        backdrop = stage.backdrop + abs(tilt) + tilt * np.linspace(-1, 1, width, dtype=np.float32)
        ground = stage.has_ground & (below[:, None] >= np.maximum(backdrop, FAR_GROUND)[None])
        disparity = np.where(ground, below[:, None], backdrop[None]).astype(np.float32)
        if stage.has_ground and stage.textured:
            surface = self.textures.surface(draws, height, width).astype(np.float32) / 255
            colour = np.where(ground[..., None], _ground_colour(surface, stage, height, width), colour)
        return colour, disparity

    def _standing(self, draws: Draws, stage: Stage, near: float) -> Layer:
        """An object on the ground; ``near`` in (0, 1] is how far it is from the backdrop to :data:`NEAREST`."""
        near = stage.backdrop + max(near, FAR_GROUND) * (NEAREST - stage.backdrop)
        box_height = max(6, round(draws.uniform(*STANDING_HEIGHT) * near * stage.depth))
        box_width = max(4, round(box_height * draws.uniform(*STANDING_WIDTH)))
        foot = stage.horizon + near * stage.depth
        left = round(draws.uniform(0.0, 1.0) * self.size[1] - box_width / 2)
        box = (round(foot) - box_height, left, box_height, box_width)
        return self._layer(draws, draws.choice(STANDING), near, box=box)

    def _hanging(self, draws: Draws, stage: Stage, near: float) -> Layer:
        """An object that reaches into the frame from a side or floats in it, the larger the nearer."""
        height, width = self.size
        near = stage.backdrop + near * (NEAREST - stage.backdrop)
        box_height = max(8, round(height * near * draws.uniform(*HANGING_HEIGHT)))
        box_width = max(8, round(box_height * draws.uniform(*HANGING_WIDTH)))
        silhouette = draws.choice(HANGING)
        top = round(draws.uniform(0.05, 0.95) * height - box_height / 2)
        if silhouette is not branch:
            left = round(draws.uniform(0, 1) * width - box_width / 2)
            return self._layer(draws, silhouette, near, box=(top, left, box_height, box_width))
        layer = self._layer(draws, silhouette, near, box=(top, -round(0.05 * box_width), box_height, box_width))
        if not draws.chance(0.5):
            return layer
        from_right = (part[:, ::-1] for part in (layer.colour, layer.alpha, layer.disparity))
        return Layer(top, width - box_width - layer.left, *from_right)

    def _layer(self, draws: Draws, silhouette: Silhouette, near: float, *, box: tuple[int, int, int, int]) -> Layer:
        """Cut a silhouette out of a surface, light it, give it a slight relief; ``box`` is top, left, height, width."""
        top, left, height, width = box
        alpha = silhouette(draws, height, width)
        colour = self.textures.surface(draws, height, width).astype(np.float32) / 255
        across = np.linspace(-1, 1, width, dtype=np.float32)[None, :, None]
        tint = draws.uniform(*BRIGHTNESS) * draws.uniforms((3,), *TINT).astype(np.float32)
        light = tint * (1 + draws.uniform(-SIDE_LIGHT, SIDE_LIGHT) * across)
        bulge = draws.uniform(0.0, RELIEF) * near * np.sqrt(np.clip(1 - across[..., 0] ** 2, 0, 1))
        disparity = np.broadcast_to(np.float32(near) + bulge, (height, width)).astype(np.float32)
        return Layer(top, left, np.clip(colour * light, 0, 1).astype(np.float32), alpha, disparity)


def _ground_colour(surface: np.ndarray, stage: Stage, height: int, width: int) -> np.ndarray:
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


def _shade_ground(colour: np.ndarray, corner: tuple[int, int], foot: tuple[int, float], box_width: int) -> None:
    """Darken a surface around an object's foot, in place: what makes it stand rather than float.

    Args:
        colour: (h, w, 3).
        corner: Row and column of the frame at which it begins.
        foot: Row and column of the frame.
        box_width: Of the object, pixels.
    """
    height, width = colour.shape[:2]
    row, middle = foot[0] - corner[0], foot[1] - corner[1]
    radius_y, radius_x = 0.09 * box_width, 0.6 * box_width
    y0, y1 = max(0, int(row - 2 * radius_y)), min(height, int(row + 2 * radius_y) + 1)
    x0, x1 = max(0, int(middle - 2 * radius_x)), min(width, int(middle + 2 * radius_x) + 1)
    if y1 <= y0 or x1 <= x0:
        return
    y = (np.arange(y0, y1, dtype=np.float32)[:, None] - row) / radius_y
    x = (np.arange(x0, x1, dtype=np.float32)[None] - middle) / radius_x
    colour[y0:y1, x0:x1] *= 1 - SHADE * np.exp(-2 * (x * x + y * y))[..., None]
