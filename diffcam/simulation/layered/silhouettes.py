"""Outlines of the objects in layered scenes, as antialiased alpha masks.

Every function takes the draws and the size of the object's box in pixels, and returns alpha as float32 (height, width)
in [0, 1]. Standing objects touch the bottom of their box, so that a box placed on the ground stands on it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from diffcam.simulation.draws import Draws

SUPERSAMPLING = 4
"""Outlines are drawn this many times larger and averaged down: 17 alpha levels across an edge."""

Silhouette = Callable[[Draws, int, int], np.ndarray]


class _Canvas:
    """A supersampled mask drawn in fractions of the box."""

    def __init__(self, height: int, width: int) -> None:
        self.size = (width * SUPERSAMPLING, height * SUPERSAMPLING)
        self.mask = Image.new("L", self.size)
        self.draw = ImageDraw.Draw(self.mask)

    def polygon(self, points: np.ndarray) -> None:
        self.draw.polygon([tuple(point) for point in points * self.size], fill=255)

    def ellipse(self, x: float, y: float, radius_x: float, radius_y: float) -> None:
        width, height = self.size
        box = [(x - radius_x) * width, (y - radius_y) * height, (x + radius_x) * width, (y + radius_y) * height]
        self.draw.ellipse(box, fill=255)

    def line(self, points: np.ndarray, pixels: float) -> None:
        width = max(1, round(pixels * SUPERSAMPLING))
        self.draw.line([tuple(point) for point in points * self.size], fill=255, width=width, joint="curve")

    def alpha(self) -> np.ndarray:
        return np.asarray(self.mask.reduce(SUPERSAMPLING), dtype=np.float32) / 255


def _fill(points: np.ndarray, height: int, width: int) -> np.ndarray:
    canvas = _Canvas(height, width)
    canvas.polygon(points)
    return canvas.alpha()


def blob(draws: Draws, height: int, width: int) -> np.ndarray:
    """A smooth closed outline: a circle whose radius wavers in a few low frequencies."""
    angle = np.linspace(0, 2 * math.pi, 120, endpoint=False)
    order = np.arange(2, 7)
    amplitude = draws.uniforms((5,), 0.0, 0.28) / order
    phase = draws.uniforms((5,), 0.0, 2 * math.pi)
    radius = 1 + (amplitude * np.cos(angle[:, None] * order + phase)).sum(1)
    points = np.stack([np.cos(angle), np.sin(angle)], 1) * radius[:, None]
    return _fill((points - points.min(0)) / np.ptp(points, 0), height, width)


def vase(draws: Draws, height: int, width: int) -> np.ndarray:
    """A standing body of revolution: bottle, figure, lamp or chess piece."""
    knots = draws.uniforms((7,), 0.2, 1.0)
    knots[0] *= draws.uniform(0.2, 1.0)
    rows = np.linspace(0, 1, 60)
    profile = np.interp(rows, np.linspace(0, 1, 7), knots)
    profile = np.convolve(np.pad(profile, 6, mode="edge"), np.hanning(13) / np.hanning(13).sum(), mode="valid")
    profile = 0.5 * profile / profile.max()
    left, right = np.stack([0.5 - profile, rows], 1), np.stack([0.5 + profile, rows], 1)
    return _fill(np.concatenate([left, right[::-1]]), height, width)


def polygon(draws: Draws, height: int, width: int) -> np.ndarray:
    """A straight-edged outline that stands on its lower edge: crate, rock, house or sign."""
    count = draws.integer(3, 7)
    angle = np.sort(np.linspace(0, math.pi, count) + draws.uniforms((count,), -0.35, 0.35) / count)
    radius = draws.uniforms((count,), 0.7, 1.0)
    points = np.stack([-np.cos(angle) * radius, -np.abs(np.sin(angle)) * radius], 1)
    base = np.array([[points[:, 0].max(), 0.0], [points[:, 0].min(), 0.0]])
    base[:, 0] *= draws.uniform(0.5, 1.0)
    points = np.concatenate([points, base])
    return _fill((points - points.min(0)) / np.ptp(points, 0), height, width)


def tree(draws: Draws, height: int, width: int) -> np.ndarray:
    """A trunk under a crown of overlapping leafy discs, with gaps in it."""
    canvas = _Canvas(height, width)
    trunk = draws.uniform(0.03, 0.07)
    lean = draws.uniform(-0.06, 0.06)
    top = 0.5 + lean
    canvas.polygon(np.array([[0.5 - trunk, 1.0], [0.5 + trunk, 1.0], [top + 0.01, 0.3], [top - 0.01, 0.3]]))
    for x, y, size in draws.uniforms((draws.integer(14, 40), 3)):
        radius = 0.05 + 0.11 * size
        spread = (0.5 - radius) * math.sqrt(max(0.0, 1 - (2 * y - 1) ** 2))
        canvas.ellipse(0.5 + (2 * x - 1) * spread, radius + y * (0.66 - radius), radius, radius * 0.8)
    return canvas.alpha()


def grass(draws: Draws, height: int, width: int) -> np.ndarray:
    """Thin bent blades rising from the lower edge."""
    canvas = _Canvas(height, width)
    rise = np.linspace(0, 1, 9)
    for x, bend, length, thickness in draws.uniforms((draws.integer(8, 26), 4)):
        half = (0.006 + 0.012 * thickness) * (1 - rise**1.5)
        middle = 0.1 + 0.8 * x + (bend - 0.5) * 0.5 * rise**2
        y = 1 - (0.4 + 0.6 * length) * rise
        left, right = np.stack([middle - half, y], 1), np.stack([middle + half, y], 1)
        canvas.polygon(np.concatenate([left, right[::-1]]))
    return canvas.alpha()


def fence(draws: Draws, height: int, width: int) -> np.ndarray:
    """Upright bars joined by rails: the background shows through."""
    canvas = _Canvas(height, width)
    bars = draws.integer(3, 9)
    thickness = draws.uniform(0.1, 0.35) / bars
    for place in (np.arange(bars) + 0.5) / bars:
        top, left, right = draws.uniform(0.0, 0.08), place - thickness, place + thickness
        shoulder = top + 0.05
        canvas.polygon(np.array([[left, 1], [left, shoulder], [place, top], [right, shoulder], [right, 1]]))
    for rail in (draws.uniform(0.15, 0.3), draws.uniform(0.6, 0.8)):
        half = draws.uniform(0.015, 0.035)
        canvas.polygon(np.array([[0, rail - half], [1, rail - half], [1, rail + half], [0, rail + half]]))
    return canvas.alpha()


def branch(draws: Draws, height: int, width: int) -> np.ndarray:
    """Twigs with leaves that reach in from the left edge."""
    canvas = _Canvas(height, width)
    short = min(height, width)
    along, down = np.linspace(0, 1, 12), np.linspace(0, 1, 8)
    half = 0.22 * np.sin(down * math.pi)
    leaf = np.concatenate([np.stack([down, half], 1), np.stack([down, -half], 1)[::-1]])  # pointed, of length 1
    for _ in range(draws.integer(2, 4)):
        start, end, bend = draws.uniform(0.2, 0.8), draws.uniform(0.1, 0.9), draws.uniform(-0.2, 0.2)
        reach = draws.uniform(0.6, 0.95)
        points = np.stack([along * reach, start + (end - start) * along + bend * np.sin(along * math.pi)], 1)
        canvas.line(points, max(1.0, short * draws.uniform(0.008, 0.022)))
        for place, side, size in draws.uniforms((draws.integer(5, 11), 3)):
            angle, length = (side - 0.5) * 2.6, short * (0.08 + 0.13 * size)
            turned = leaf * length @ np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
            canvas.polygon(points[1 + int(place * 10)] + turned * SUPERSAMPLING / canvas.size)
    return canvas.alpha()


STANDING: tuple[Silhouette, ...] = (vase, polygon, tree, blob, fence, grass)
"""Outlines of objects that stand on the ground."""

HANGING: tuple[Silhouette, ...] = (branch, blob)
"""Outlines of objects that need no ground: they reach in from a side or float."""
