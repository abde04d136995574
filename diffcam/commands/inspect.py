"""``diffcam inspect SHARD``: what a shard holds, as statistics and a contact sheet."""

from __future__ import annotations

import argparse
import statistics
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from PIL import Image, ImageDraw
from torch import Tensor

from diffcam.data.schema import Scene
from diffcam.data.shards import SceneEntry, index_shard
from diffcam.errors import DiffcamError
from diffcam.photo.pixels import to_picture
from diffcam.simulation.photographed.all_in_focus import AllInFocus

SHEET_ROWS = 24
"""Scenes on a contact sheet."""

SHEET_VARIANTS = 4
"""Renditions of each scene on it."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line of ``diffcam inspect``."""
    parser.add_argument("shard", type=Path, help="a shard (.tar)")
    parser.add_argument("--sheet", type=Path, help="contact sheet to write (default: SHARD's name with .jpg, here)")
    parser.add_argument("--no-sheet", action="store_true", help="statistics only")
    parser.add_argument("--force", action="store_true", help="overwrite the contact sheet")


def run(args: argparse.Namespace) -> int:
    """Print statistics, write the contact sheet, and return 1 where the shard is damaged, otherwise 0.

    Raises:
        DiffcamError: If there is no such shard, or the sheet exists.
    """
    if not args.shard.is_file():
        raise DiffcamError(f"{args.shard}: no such shard")
    sheet = args.sheet or Path(args.shard.with_suffix(".jpg").name)
    if not args.no_sheet and sheet.exists() and not args.force:
        raise DiffcamError(f"{sheet}: exists already; choose another --sheet, or --force")
    index = index_shard(args.shard)
    statistic, damage = Statistics(), list(index.damage)
    shown: list[Image.Image] = []
    for scene in _scenes(index.entries, damage):
        statistic.add(scene)
        if len(shown) < SHEET_ROWS:
            shown.append(sheet_row(scene))
    print("\n".join(statistic.lines()))
    for line in damage:
        print(f"damaged: {line}", file=sys.stderr)
    for line in index.foreign:
        print(f"foreign: {line}", file=sys.stderr)
    if shown and not args.no_sheet:
        write_sheet(sheet, shown)
        print(f"contact sheet: {sheet} (image, disparity, renditions; {len(shown)} scenes)")
    return 1 if damage else 0


def _scenes(entries: Iterable[SceneEntry], damage: list[str]) -> Iterator[Scene]:
    """The scenes; what cannot be decoded is added to ``damage``."""
    for entry in entries:
        try:
            yield entry.read()
        except DiffcamError as error:
            damage.append(str(error))


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
    row = Image.new("RGB", ((2 + len(chosen)) * side, side), "black")
    pictures: list[tuple[Tensor, str, tuple[float, float] | None]] = [
        (scene.image, scene.key, None),
        (scene.disparity.expand(3, -1, -1), f"{scene.source}, {scene.kind}", None),
    ]
    for variant in chosen:
        assert variant.image is not None, "selected above"
        label = f"d {variant.focus_disparity:.2f} b {variant.camera.bokeh:g}"
        pictures.append((variant.image, label, variant.camera.focus))
    for column, (tensor, label, focus) in enumerate(pictures):
        row.paste(_cell(tensor, label, focus, side), (column * side, 0))
    return row


def write_sheet(path: Path, rows: Sequence[Image.Image]) -> None:
    """Write rows below each other, in as many columns as make the sheet about square."""
    width, height = max(row.width for row in rows), rows[0].height
    columns = max(1, round((len(rows) * height / width) ** 0.5))
    sheet = Image.new("RGB", (columns * width, -(-len(rows) // columns) * height))
    for number, row in enumerate(rows):
        sheet.paste(row, ((number % columns) * width, number // columns * height))
    sheet.save(path)


def _cell(tensor: Tensor, label: str, focus: tuple[float, float] | None, side: int) -> Image.Image:
    small = to_picture(tensor)
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
    return f"{min(values):.3f} to {max(values):.3f}, median {statistics.median(values):.3f}"
