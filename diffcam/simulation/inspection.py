"""What a shard holds: statistics, damage, and pictures of some scenes."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image, ImageDraw
from torch import Tensor

from diffcam.data.schema import Scene
from diffcam.data.shards import index_shard
from diffcam.errors import DiffcamError
from diffcam.simulation.contact_sheet import contact_sheet
from diffcam.simulation.photographed.all_in_focus import AllInFocus

SHEET_ROWS = 24
"""Scenes on a contact sheet."""

SHEET_VARIANTS = 4
"""Renditions of each scene on it."""


def inspect_shard(path: Path) -> Inspection:
    """Decode every scene of a shard and count what is there.

    Raises:
        DiffcamError: If there is no such shard.
    """
    if not path.is_file():
        raise DiffcamError(f"{path}: no such shard")
    index = index_shard(path)
    statistics, damage = Statistics(), list(index.damage)
    rows: list[Image.Image] = []
    for entry in index.entries:
        try:
            scene = entry.read()
        except DiffcamError as error:
            damage.append(str(error))
            continue
        statistics.add(scene)
        if len(rows) < SHEET_ROWS:
            rows.append(sheet_row(scene))
    return Inspection(tuple(statistics.lines()), tuple(damage), tuple(index.foreign), tuple(rows))


@dataclass(frozen=True)
class Inspection:
    """What is in a shard.

    Args:
        statistics: One line for each number that says anything.
        damage: One line for each scene or member that cannot be read.
        foreign: One line for each member that belongs to no scene.
        rows: Pictures of the first scenes, see :func:`sheet_row`.
    """

    statistics: tuple[str, ...]
    damage: tuple[str, ...]
    foreign: tuple[str, ...]
    rows: tuple[Image.Image, ...]

    def sheet(self) -> Image.Image:
        """The scenes' pictures in as many columns as make the sheet about square."""
        width, height = max(row.width for row in self.rows), self.rows[0].height
        return contact_sheet(self.rows, max(1, round((len(self.rows) * height / width) ** 0.5)))


class Statistics:
    """Counts over scenes."""

    def __init__(self) -> None:
        self.scenes = 0
        self.stored = 0
        self.counts: dict[str, Counter[str]] = {
            name: Counter() for name in ("source", "kind", "size", "level", "focus plane", "sample")
        }
        self.sharpness: list[float] = []
        self.median_disparity: list[float] = []

    def add(self, scene: Scene) -> None:
        """Count one scene."""
        self.scenes += 1
        height, width = scene.image.shape[1:]
        self.counts["source"][scene.source] += 1
        self.counts["kind"][scene.kind] += 1
        self.counts["size"][f"{width}x{height}"] += 1
        for variant in scene.variants:
            self.counts["level"][f"{variant.camera.bokeh:g}"] += 1
            self.counts["focus plane"][f"{variant.focus_disparity:.2f}"] += 1
            self.stored += variant.image is not None
        for sample in scene.samples:
            self.counts["sample"][sample.subtask] += 1
        self.sharpness.append(AllInFocus().measure(scene.image).score)
        self.median_disparity.append(float(scene.disparity.median()))

    def lines(self) -> list[str]:
        """One line for each statistic that says anything."""
        lines = [f"scenes: {self.scenes}"]
        for name, counter in self.counts.items():
            if counter:
                ranked = sorted(counter.items(), key=lambda item: (len(item[0]), item[0]))
                lines.append(f"{name}: " + ", ".join(f"{value} ({count})" for value, count in ranked))
        variants = sum(self.counts["level"].values())
        if variants:
            lines.append(f"variants: {variants}, {self.stored} of them stored")
        if self.scenes:
            lines.append(f"sharpness of the least sharp tile: {_spread(self.sharpness)}")
            lines.append(f"median disparity: {_spread(self.median_disparity)}")
        return lines


def sheet_row(scene: Scene, side: int = 160) -> Image.Image:
    """Image, disparity and a few renditions of a scene in a row, the focus point marked."""
    stored = [variant for variant in scene.variants if variant.image is not None]
    step = max(1, len(stored) // SHEET_VARIANTS)
    chosen = stored[::step][:SHEET_VARIANTS]
    pictures: list[tuple[Tensor, str, tuple[float, float] | None]] = [
        (scene.image, scene.key, None),
        (scene.disparity.expand(3, -1, -1), f"{scene.source}, {scene.kind}", None),
    ]
    for variant in chosen:
        assert variant.image is not None, "selected above"
        label = f"d {variant.focus_disparity:.2f} b {variant.camera.bokeh:g}"
        pictures.append((variant.image, label, variant.camera.focus))
    return contact_sheet([_cell(*picture, side) for picture in pictures], len(pictures))


def _cell(tensor: Tensor, label: str, focus: tuple[float, float] | None, side: int) -> Image.Image:
    pixels = (tensor * 255).round().byte().permute(1, 2, 0).contiguous().numpy()
    small = Image.fromarray(np.ascontiguousarray(pixels))
    small.thumbnail((side - 4, side - 16))
    draw = ImageDraw.Draw(small)
    if focus is not None:
        x, y = focus[0] * small.width, focus[1] * small.height
        draw.ellipse([x - 4, y - 4, x + 4, y + 4], outline="red", width=2)
    cell = Image.new("RGB", (side, side), "black")
    cell.paste(small, (2, 2))
    ImageDraw.Draw(cell).text((3, side - 13), label, fill="white")
    return cell


def _spread(values: list[float]) -> str:
    return f"{min(values):.3f} to {max(values):.3f}, median {median(values):.3f}"
