"""Photos judged for sharpness, on a contact sheet for inspection by eye."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from PIL import Image, ImageDraw

from diffcam.errors import DiffcamError
from diffcam.photo import open_photo
from diffcam.simulation.inspection import contact_sheet
from diffcam.simulation.photographed.all_in_focus import Sharpness, measure_sharpness
from diffcam.simulation.textures.photos import list_photos, load_reduced

SIDE, COLUMNS = 240, 6
"""Pixels on a side of a photo's place on the sheet, and photos in a row: 1440 pixels, a screen's width."""

REVIEW_PHOTOS = 400
"""Photos on a contact sheet: 67 rows of 240 pixels are as high as the narrowest of the formats allows."""


def review_photos(folder: Path, sheet: Path, threshold: float, *, report: Callable[[str], None]) -> list[float]:
    """Measure every photo of a folder and write a contact sheet of those nearest to the threshold.

    Args:
        threshold: Least sharpness everywhere, see :func:`measure_sharpness`.
        report: Takes the line of a photo that cannot be opened; the others' sharpness is returned.

    Raises:
        DiffcamError: If there is no photo, or none can be opened.
    """
    measured: list[tuple[Path, Sharpness]] = []
    for path in list_photos(folder):
        try:
            photo = open_photo(path, path.relative_to(folder).as_posix())
        except DiffcamError as error:
            report(f"left out: {error}")
            continue
        measured.append((path, measure_sharpness(photo.tensor())))
    if not measured:
        raise DiffcamError(f"{folder}: none of its photos can be opened; the lines above say why")
    shown = sorted(measured, key=lambda item: abs(item[1].score - threshold))[:REVIEW_PHOTOS]
    write_review(sheet, [(path.name, load_reduced(path, SIDE), sharpness) for path, sharpness in shown], threshold)
    return [sharpness.score for _, sharpness in measured]


def write_review(path: Path, photos: Iterable[tuple[str, Image.Image, Sharpness]], threshold: float) -> None:
    """Write a contact sheet for inspection by eye: sharpest first, accepted framed green, rejected red, with scores.

    Tiles below the threshold are crossed out on the photo, so that the sheet shows why one was rejected. Each photo
    comes as its name, picture and measurement; there are at most :data:`REVIEW_PHOTOS`.
    """
    cells = []
    for name, picture, sharpness in sorted(photos, key=lambda item: -item[2].score):
        small = picture.copy()
        small.thumbnail((SIDE - 8, SIDE - 20))
        draw, step = ImageDraw.Draw(small), sharpness.tile * min(small.size)
        for row, column in torch.nonzero(sharpness.tiles < threshold).tolist():
            x, y = column * step, row * step
            draw.line([(x, y), (x + step, y + step)], fill="red", width=1)
        cell = Image.new("RGB", (SIDE, SIDE), "black")
        cell.paste(small, (4, 4))
        frame, colour = ImageDraw.Draw(cell), "lime" if sharpness.score >= threshold else "red"
        frame.rectangle([1, 1, SIDE - 2, SIDE - 2], outline=colour, width=2)
        frame.text((6, SIDE - 15), f"{sharpness.score:.3f} {name}"[: SIDE // 6], fill=colour)
        cells.append(cell)
    contact_sheet(cells, min(COLUMNS, len(cells))).save(path)
