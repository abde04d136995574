"""What ray-traced scenes show: things near, between and far, thin ones before them, gloss and glass.

A view holds a backdrop, mostly a floor, several solid things, and leaves, fences or grass close to the camera. Depths
are drawn evenly in inverse depth, in which blur is linear, so that every range of blur is equally common.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from diffcam.simulation.draws import Draws
from diffcam.simulation.raytraced.materials import GLASS, Material, glossy, lamp, matte, metal
from diffcam.simulation.raytraced.meshes import Point, crate, fence, floor, grass, sprig, vase, wall
from diffcam.simulation.raytraced.raytracer import Ball, Mesh, Part, View
from diffcam.simulation.textures.photos import Textures

# What scenes look like: pairs are the ends of a range, single words without a unit are probabilities. All were chosen
# by eye; they are part of every ray-traced scene, so that another value makes other shards.

PICTURE = 256
"""Pixels on a side of a thing's texture."""

NEAR, FAR = (0.7, 1.2), (5, 12)
"""Least depth of anything in metres, and the backdrop's over it."""

FRAMING = (0.9, 1.6)
"""Image distance over the sensor's short side: an angle of view of 58 down to 35 degrees."""

FLOOR, FLOOR_DEPTH = 0.8, (1.3, 3.0)
"""Scenes with a floor, and the depth, over the least, at which it enters the frame."""

THINGS, THING_SIZE = (4, 7), (0.18, 0.42)
"""How many solid things, and their size as a share of the short side of the frame at their depth."""

SECOND_THIN, FIRST_NEARNESS, SECOND_NEARNESS = 0.6, (0.8, 1.0), (0.2, 0.7)
"""Scenes with two thin things, and how near these are: 0 at the backdrop, 1 at the least depth."""

LAMP, SKY = (18, 40), (0.35, 0.8)
"""Radiance of the lamp and of the sky, before exposure."""

METAL, GLOSSY, GLASS_BALL = 0.12, 0.5, 0.3
"""Things of metal; things of metal or varnished, which leaves the rest matte; balls of glass."""


@dataclass(frozen=True)
class Staging:
    """A scene to be traced; radiance ``sky`` comes from everywhere."""

    parts: tuple[Part, ...]
    sky: float
    view: View


@dataclass(frozen=True)
class Stage:
    """Where things can stand.

    Args:
        near: Least depth of anything, metres.
        far: Depth of the backdrop, metres.
        floor: Height of the floor, negative metres.
    """

    near: float
    far: float
    view: View
    floor: float

    @classmethod
    def draw(cls, draws: Draws, size: tuple[int, int]) -> Stage:
        """Distances of a room or a garden."""
        near = draws.uniform(*NEAR)
        framing = draws.uniform(*FRAMING)
        nearest_floor = near * draws.uniform(*FLOOR_DEPTH)
        far = near * draws.uniform(*FAR)
        return cls(near=near, far=far, view=View(size, framing), floor=-nearest_floor / (2 * framing))

    def short_side(self, depth: float) -> float:
        """Metres that the frame's short side spans at a depth."""
        return depth / self.view.framing

    def place(self, x: float, y: float, depth: float) -> Point:
        """The point at a depth that is seen at fractions of width and height from the top left corner."""
        height, width = self.view.size
        unit = self.short_side(depth) / min(height, width)
        return (x - 0.5) * width * unit, (0.5 - y) * height * unit, -depth

    def depth(self, nearness: float) -> float:
        """0 at the backdrop, 1 at the least depth, linear in inverse depth."""
        return 1 / (1 / self.far + nearness * (1 / self.near - 1 / self.far))


def draw_staging(draws: Draws, textures: Textures, size: tuple[int, int]) -> Staging:
    """A scene that depends on nothing but the draws, the textures and the size."""
    stage = Stage.draw(draws, size)
    height, width = size
    half = 0.75 * stage.short_side(stage.far) / min(size)
    picture = textures.backdrop(draws, round(1.5 * height), round(1.5 * width))
    parts = [Part(wall(stage.far, half * width, half * height, draws.uniform(-0.15, 0.15)), matte(picture))]
    has_floor = draws.chance(FLOOR)
    if has_floor:
        ground = floor(stage.floor, 1.2 * stage.far, 2.5 * stage.short_side(stage.far), draws.uniform(0.8, 2.0))
        parts.append(Part(ground, matte(_picture(draws, textures, 2 * PICTURE))))
    count = draws.integer(*THINGS)
    for number in range(count):
        nearness = (number + draws.uniform()) / count * 0.8 + 0.04  # one in each range of blur
        parts.append(_thing(draws, textures, stage, stage.depth(nearness), has_floor))
    thin = [draws.uniform(*FIRST_NEARNESS)]
    if draws.chance(SECOND_THIN):
        thin.append(draws.uniform(*SECOND_NEARNESS))
    for nearness in thin:
        parts.append(_thin_thing(draws, textures, stage, stage.depth(nearness)))
    side, strength = draws.choice((-1.0, 1.0)), draws.uniform(*LAMP)
    bulb = Ball((side * draws.uniform(1.5, 4), draws.uniform(3.5, 6), draws.uniform(0.5, 2.5)), 1.0)
    warmth = draws.uniform(0.0, 0.25)
    parts.append(Part(bulb, lamp((strength, strength * (1 - warmth / 2), strength * (1 - warmth)))))
    return Staging(tuple(parts), draws.uniform(*SKY), stage.view)


def _picture(draws: Draws, textures: Textures, side: int) -> np.ndarray:
    """A square surface in a drawn tint, so that few photos still make many things."""
    tint = draws.uniform(0.7, 1.1) * draws.uniforms((3,), 0.7, 1.2)
    return np.clip(textures.surface(draws, side, side) * tint, 0, 255).astype(np.uint8)


def _material(draws: Draws, textures: Textures) -> Material:
    """Mostly matte, often varnished, sometimes metal."""
    chance = draws.uniform()
    if chance < METAL:
        red, green, blue = (float(share) for share in draws.uniforms((3,), 0.55, 0.95))
        return metal((red, green, blue), draws.uniform(0.1, 0.35))
    picture = _picture(draws, textures, PICTURE)
    return glossy(picture, draws.uniform(0.06, 0.25)) if chance < GLOSSY else matte(picture)


def _thing(draws: Draws, textures: Textures, stage: Stage, depth: float, has_floor: bool) -> Part:
    """A crate, a ball or a vase that stands on the floor, or floats where the floor is out of sight or missing."""
    size = draws.uniform(*THING_SIZE) * stage.short_side(depth)
    x, y, z = stage.place(draws.uniform(0.05, 0.95), draws.uniform(0.3, 0.9), depth)
    if has_floor and stage.floor > -0.5 * stage.short_side(depth):
        y = stage.floor
    kind = draws.uniform()
    shape: Ball | Mesh
    if kind < 0.4:
        shape = Ball((x, y + size / 2, z), size / 2)
        return Part(shape, GLASS if draws.chance(GLASS_BALL) else _material(draws, textures))
    if kind < 0.7:
        sides = (size * draws.uniform(0.6, 1.3), size * draws.uniform(0.6, 1.5), size * draws.uniform(0.4, 1.0))
        shape = crate((x, y, z), sides, draws.uniform(-math.pi, math.pi))
    else:
        tall = size * draws.uniform(1.0, 1.8)
        knots = np.interp(np.linspace(0, 5, 40), range(6), draws.uniforms((6,), 0.25, 1.0))
        smooth = np.convolve(np.pad(knots, 4, mode="edge"), np.hanning(11)[1:-1] / 5, mode="valid")
        shape = vase((x, y, z), tall, 0.28 * tall * smooth)
    return Part(shape, _material(draws, textures))


def _thin_thing(draws: Draws, textures: Textures, stage: Stage, depth: float) -> Part:
    """Leaves that reach in from a side, a fence across the view, or grass from below."""
    short, kind = stage.short_side(depth), draws.uniform()
    material = matte(_picture(draws, textures, PICTURE // 2))
    if kind < 0.45:
        left = draws.chance(0.5)
        start = np.array(stage.place(-0.1 if left else 1.1, draws.uniform(0.0, 0.9), depth))
        end = np.array(stage.place(draws.uniform(0.35, 0.65), draws.uniform(0.1, 0.8), depth * draws.uniform(0.9, 1.1)))
        return Part(sprig(draws, start, end, draws.integer(8, 22), short * draws.uniform(0.1, 0.2)), material)
    x, y, z = stage.place(draws.uniform(0.2, 0.8), 1.1, depth)
    if kind < 0.75:
        width, height = short * draws.uniform(0.7, 2.2), short * draws.uniform(0.5, 1.3)
        return Part(fence(draws, (x, y, z), width, height, draws.uniform(-0.5, 0.5)), material)
    return Part(grass(draws, (x, y, z), short * draws.uniform(0.6, 1.4), short * draws.uniform(0.5, 0.9)), material)
