"""Draws ``architecture.svg``: ``python docs/pictures/architecture.py``, from the project's root."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

from matplotlib import pyplot as plt
from matplotlib.axes import Axes

FOLDER = Path(__file__).parent
LAYERS = runpy.run_path(str(FOLDER.parents[1] / "tests" / "test_layers.py"))["LAYERS"]
PAGE = FOLDER.parent / "architecture.md"


def walk(title: str) -> list[tuple[str, str]]:
    """File and name of each place of a walk, as the page tells it."""
    section = PAGE.read_text().split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]
    return re.findall(r"^\| \d \| `([^`]+)` \| `([^`]+)` \|", section, re.MULTILINE)


def draw_column(axis: Axes, title: str, boxes: list[tuple[str, str]], colour: str, joined: bool) -> None:
    """Boxes from top to bottom, each with a line in bold and one below."""
    axis.set_title(title, fontsize=12)
    for number, (first, second) in enumerate(boxes):
        place = 1 - (number + 0.5) / len(boxes)
        text = f"{first}\n{second}" if second else first
        style = {"boxstyle": "round,pad=0.5", "facecolor": colour, "edgecolor": "none"}
        axis.text(0.5, place, text, ha="center", va="center", fontsize=9, bbox=style)
        if joined and number + 1 < len(boxes):
            arrow = {"arrowstyle": "-|>", "color": "#666666"}
            axis.annotate("", (0.5, place - 0.66 / len(boxes)), (0.5, place - 0.36 / len(boxes)), arrowprops=arrow)
    axis.set_axis_off()


def main() -> None:
    """Draw it."""
    plt.rcParams["svg.fonttype"] = "none"
    plt.rcParams["svg.hashsalt"] = "architecture"
    figure, (layers, photo, batch) = plt.subplots(1, 3, figsize=(13, 7.5), width_ratios=[1, 1.2, 1.2])
    rows = [("   ".join(sorted(parts - {"__main__"})), "") for parts in reversed(LAYERS) if parts - {"__main__"}]
    draw_column(layers, "Imports run downwards", rows, "#e3e8f0", joined=False)
    draw_column(photo, "The walk of a photo", walk("The walk of a photo"), "#dff0e2", joined=True)
    draw_column(batch, "The walk of a batch", walk("The walk of a batch"), "#f5e8d8", joined=True)
    figure.tight_layout()
    figure.savefig(FOLDER / "architecture.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
