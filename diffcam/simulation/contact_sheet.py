"""Pictures side by side in one picture, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image


def contact_sheet(cells: Sequence[Image.Image], columns: int) -> Image.Image:
    """At least one cell, row by row; every cell has the size of the largest."""
    width, height = max(cell.width for cell in cells), max(cell.height for cell in cells)
    sheet = Image.new("RGB", (columns * width, -(-len(cells) // columns) * height), "black")
    for number, cell in enumerate(cells):
        sheet.paste(cell, (number % columns * width, number // columns * height))
    return sheet
