"""What a shard holds: statistics, damage, and pictures of some scenes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from PIL import Image, ImageDraw
from torch import Tensor

from diffcam.data.schema import Scene
from diffcam.data.shards import index_shard
from diffcam.errors import DiffcamError
from diffcam.photo.pixels import to_picture
from diffcam.simulation.photographed.all_in_focus import measure_sharpness

SHEET_ROWS = 24
"""Scenes on a contact sheet."""

SHEET_VARIANTS = 4
"""Renditions of each scene on it."""


@dataclass(frozen=True)
class Inspection:
    """What is in a shard.

    Args:
        statistics: One line for each number that says anything.
        damage: One line for each scene or member that cannot be read.
        foreign: One line for each member that belongs to no scene.
        rows: Pictures of the first scenes, see :func:`sheet_row`.
    """

    statistics: Sequence[str]
    damage: Sequence[str]
    foreign: Sequence[str]
    rows: Sequence[Image.Image]

    def sheet(self) -> Image.Image:
        """The scenes' pictures in as many columns as make the sheet about square."""
        width, height = max(row.width for row in self.rows), self.rows[0].height
        return contact_sheet(self.rows, max(1, round((len(self.rows) * height / width) ** 0.5)))


def contact_sheet(cells: Sequence[Image.Image], columns: int) -> Image.Image:
    """Pictures side by side, row by row; every cell has the size of the largest."""
    width, height = max(cell.width for cell in cells), max(cell.height for cell in cells)
    sheet = Image.new("RGB", (columns * width, -(-len(cells) // columns) * height), "black")
    for number, cell in enumerate(cells):
        sheet.paste(cell, (number % columns * width, number // columns * height))
    return sheet


def inspect_shard(path: Path) -> Inspection:
    """Decode every scene of a shard and count what is there.

    Raises:
        DiffcamError: If there is no such shard.
    """
    if not path.is_file():
        raise DiffcamError(f"{path}: no such shard")
    index = index_shard(path)
    damage, rows, stored = list(index.damage), list[Image.Image](), 0
    sharpness, disparity = list[float](), list[float]()
    counts = {name: Counter[str]() for name in ("source", "kind", "size", "level", "focus plane", "sample")}
    for entry in index.entries:
        try:
            scene = entry.read()
        except DiffcamError as error:
            damage.append(str(error))
            continue
        counts["source"][scene.source] += 1
        counts["kind"][scene.kind] += 1
        counts["size"]["{2}x{1}".format(*scene.image.shape)] += 1
        counts["level"].update(f"{variant.camera.bokeh:g}" for variant in scene.variants)
        counts["focus plane"].update(f"{variant.focus_disparity:.2f}" for variant in scene.variants)
        counts["sample"].update(sample.subtask for sample in scene.samples)
        stored += sum(variant.image is not None for variant in scene.variants)
        sharpness.append(measure_sharpness(scene.image).score)
        disparity.append(float(scene.disparity.median()))
        if len(rows) < SHEET_ROWS:
            rows.append(sheet_row(scene))
    lines = [f"scenes: {len(sharpness)}"]
    for name, counter in counts.items():
        if counter:
            ranked = sorted(counter.items(), key=lambda item: (len(item[0]), item[0]))
            lines.append(f"{name}: " + ", ".join(f"{value} ({count})" for value, count in ranked))
    if counts["level"]:
        lines.append(f"variants: {counts['level'].total()}, {stored} of them stored")
    if sharpness:
        lines.append(f"sharpness of the least sharp tile: {_spread(sharpness)}")
        lines.append(f"median disparity: {_spread(disparity)}")
    return Inspection(lines, damage, index.foreign, rows)


def sheet_row(scene: Scene, side: int = 160) -> Image.Image:
    """Image, disparity and a few renditions of a scene in a row of squares, the focus point marked."""
    pictures: list[tuple[Tensor, str, tuple[float, float] | None]] = [
        (variant.image, f"d {variant.focus_disparity:.2f} b {variant.camera.bokeh:g}", variant.camera.focus)
        for variant in scene.variants
        if variant.image is not None
    ]
    pictures = pictures[:: max(1, len(pictures) // SHEET_VARIANTS)][:SHEET_VARIANTS]
    disparity = (scene.disparity.expand(3, -1, -1), f"{scene.source}, {scene.kind}", None)
    cells = []
    for tensor, label, focus in [(scene.image, scene.key, None), disparity, *pictures]:
        small = to_picture(tensor)
        small.thumbnail((side - 4, side - 16))
        if focus is not None:
            x, y = focus[0] * small.width, focus[1] * small.height
            ImageDraw.Draw(small).ellipse([x - 4, y - 4, x + 4, y + 4], outline="red", width=2)
        cell = Image.new("RGB", (side, side), "black")
        cell.paste(small, (2, 2))
        ImageDraw.Draw(cell).text((3, side - 13), label, fill="white")
        cells.append(cell)
    return contact_sheet(cells, len(cells))


def _spread(values: list[float]) -> str:
    return f"{min(values):.3f} to {max(values):.3f}, median {median(values):.3f}"
