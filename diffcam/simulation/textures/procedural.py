"""Surfaces that no camera saw: patterns made of noise, cells and bands, in drawn palettes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from diffcam.simulation.draws import Draws


class ProceduralTextures:
    """Patterns with detail down to single pixels; every draw is a new one.

    Examples:
        >>> from diffcam.simulation.draws import Draws
        >>> ProceduralTextures().surface(Draws("example", 0), 64, 96).shape
        (64, 96, 3)
    """

    def backdrop(self, draws: Draws, height: int, width: int) -> np.ndarray:
        """A soft gradient from top to bottom with noise over it, as uint8 (height, width, 3)."""
        top, bottom = draws.uniforms((2, 1, 1, 3), 0.15, 0.95)
        down = np.linspace(0, 1, height)[:, None, None]
        relief = (_noise(draws, height, width, roughness=0.75) - 0.5)[..., None]
        return _as_bytes(top * (1 - down) + bottom * down + 0.8 * relief)

    def surface(self, draws: Draws, height: int, width: int) -> np.ndarray:
        """A coloured pattern with grain, as uint8 (height, width, 3)."""
        value = draws.choice(_PATTERNS)(draws, height, width)
        colours = draws.uniforms((draws.integer(2, 4), 3), 0.05, 1.0)
        stops = np.linspace(0, 1, len(colours))
        picture = np.stack([np.interp(value, stops, colours[:, channel]) for channel in range(3)], -1)
        grain = (_noise(draws, height, width, roughness=0.95) - 0.5)[..., None]
        return _as_bytes(picture + draws.uniform(0.1, 0.5) * grain)

    def describe(self) -> dict[str, Any]:
        """Nothing but the name: all is drawn."""
        return {"textures": "procedural"}


def _noise(draws: Draws, height: int, width: int, roughness: float) -> np.ndarray:
    """Value noise summed over octaves, (height, width) in [0, 1]; each octave has ``roughness`` of the one above."""
    total, weight, amplitude = np.zeros((height, width), dtype=np.float32), 0.0, 1.0
    for octave in range(1, max(2, math.ceil(math.log2(max(height, width))))):
        cells = 2**octave
        coarse = draws.uniforms((min(cells, height), min(cells, width))).astype(np.float32)
        total += amplitude * np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))
        weight += amplitude
        amplitude *= roughness
    spread = 0.5 + 2.5 * (total / weight - 0.5)
    return np.clip(spread, 0, 1)


def _marble(draws: Draws, height: int, width: int) -> np.ndarray:
    """Bands bent by noise."""
    rows, columns = np.mgrid[:height, :width] / max(height, width)
    angle, bands = draws.uniform(0, math.pi), draws.uniform(6, 30)
    phase = bands * (columns * math.cos(angle) + rows * math.sin(angle)) + 3 * _noise(draws, height, width, 0.6)
    return 0.5 + 0.5 * np.sin(2 * math.pi * phase)


def _tiles(draws: Draws, height: int, width: int) -> np.ndarray:
    """A wall of bricks, each of one tone, with joints between."""
    brick_height = draws.uniform(8, 26)
    brick_width, joint = brick_height * draws.uniform(1.0, 3.0), draws.uniform(1.0, 2.5)
    rows = np.arange(height)[:, None] / brick_height
    columns = np.arange(width)[None] / brick_width + 0.5 * (np.floor(rows) % 2)
    tones = draws.uniforms((64, 64), 0.35, 1.0)[np.floor(rows).astype(int) % 64, np.floor(columns).astype(int) % 64]
    inside = ((rows % 1) * brick_height > joint) & ((columns % 1) * brick_width > joint)
    return np.where(inside, tones, 0.0)


def _cells(draws: Draws, height: int, width: int) -> np.ndarray:
    """Stones: the distance to the nearest of jittered points, against the next nearest."""
    size = draws.uniform(14, 40)
    rows, columns = np.arange(height)[:, None] / size, np.arange(width)[None] / size
    row, column = np.floor(rows).astype(int), np.floor(columns).astype(int)
    jitter = draws.uniforms((64, 64, 2))
    nearest = second = np.full((height, width), 9.0)
    for down in (-1, 0, 1):
        for right in (-1, 0, 1):
            point = jitter[(row + down) % 64, (column + right) % 64]
            away = np.hypot(rows - row - down - point[..., 0], columns - column - right - point[..., 1])
            nearest, second = np.minimum(nearest, away), np.minimum(second, np.maximum(nearest, away))
    return np.clip(1.4 * (second - nearest), 0, 1)


def _clouds(draws: Draws, height: int, width: int) -> np.ndarray:
    """Rough noise alone."""
    return _noise(draws, height, width, draws.uniform(0.7, 0.95))


def _as_bytes(picture: np.ndarray) -> np.ndarray:
    return (np.clip(picture, 0, 1) * 255).astype(np.uint8)


_PATTERNS: tuple[Callable[[Draws, int, int], np.ndarray], ...] = (_marble, _tiles, _cells, _clouds)
