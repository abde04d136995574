"""Qualitative grids like the paper's figures 3 to 6: samples down, methods across, the focus point marked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from diffcam.benchmark.edition import Edition
from diffcam.benchmark.methods import Copy, GroundTruth, Method, to_picture
from diffcam.benchmark.results import Results
from diffcam.data.batch import RefocusSample
from diffcam.errors import DiffcamError

CELL = 256
GAP = 4
LABEL = 22
MARK = 0.12
"""Side of the focus frame, as a share of the picture's short side."""

INK, PAPER, FOCUS = (20, 20, 20), (255, 255, 255), (230, 40, 40)
FREE: dict[str, Method] = {"reference": Copy(), "target": GroundTruth()}
"""Columns that come from the sample itself."""


def write_grids(
    edition: Edition,
    results: Mapping[str, Results],
    folder: Path,
    scenes: int = 4,
    methods: Sequence[str] | None = None,
) -> list[Path]:
    """One PNG a sub-task: reference, outputs of the methods that keep theirs, target.

    Args:
        edition: Where samples come from.
        results: Of the methods.
        folder: Where the pictures go.
        scenes: How many scenes each grid shows, spread over the edition.
        methods: Which methods; None: all that keep outputs.

    Returns:
        Paths of the pictures.
    """
    shown = list(methods) if methods is not None else with_outputs(results)
    every = edition.scenes()
    chosen = [every[i * len(every) // min(scenes, len(every))] for i in range(min(scenes, len(every)))]
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for subtask in dict.fromkeys(name for scene in chosen for name in scene.subtasks):
        numbers = [
            scene.numbers[len(scene.subtasks) - 1 - scene.subtasks[::-1].index(subtask)]
            for scene in chosen
            if subtask in scene.subtasks
        ]
        rows = [_row(edition[number], results, shown) for number in numbers]
        path = folder / f"{subtask}.png"
        draw_grid(["reference", *shown, "target"], rows).save(path)
        paths.append(path)
    return paths


def with_outputs(results: Mapping[str, Results]) -> list[str]:
    """Names of the methods whose outputs are kept."""
    return [name for name, one in results.items() if any(one.folder.glob("outputs/*.png"))]


def level_sweep(
    edition: Edition, results: Mapping[str, Results], path: Path, scene: str, methods: Sequence[str]
) -> Path:
    """A PNG of one scene's add-bokeh samples, levels across and methods down, as in the paper's figure 5.

    Args:
        edition: Where samples come from.
        results: Of the methods.
        path: The picture.
        scene: Name of the scene.
        methods: Which methods.

    Raises:
        DiffcamError: If the edition has no such scene.
    """
    found = next((one for one in edition.scenes() if one.scene == scene), None)
    if found is None:
        raise DiffcamError(f"{scene}: no such scene in this edition")
    pairs = zip(found.numbers, found.subtasks, strict=True)
    samples = sorted((edition[n] for n, subtask in pairs if subtask == "add_bokeh"), key=lambda s: s.cameras[0].bokeh)
    header = ["method", *(f"level {sample.cameras[0].bokeh:g}" for sample in samples)]
    rows: list[list[Tensor | str]] = []
    for name in [*methods, "target"]:
        outputs = [_picture(sample, name, results) for sample in samples]
        rows.append([name, *outputs])
    draw_grid(header, rows).save(path)
    return path


def draw_grid(header: Sequence[str], rows: Sequence[Sequence[Tensor | str]]) -> Image.Image:
    """Pictures ``(3, H, W)`` or words in cells of one width under a header."""
    heights = [max((_height(cell) for cell in row), default=LABEL) for row in rows]
    width = GAP + len(header) * (CELL + GAP)
    canvas = Image.new("RGB", (width, LABEL + GAP + sum(height + GAP for height in heights)), PAPER)
    draw, font = ImageDraw.Draw(canvas), ImageFont.load_default(14)
    for column, text in enumerate(header):
        draw.text((GAP + column * (CELL + GAP), 3), text, fill=INK, font=font)
    top = LABEL
    for row, height in zip(rows, heights, strict=True):
        for column, cell in enumerate(row):
            left = GAP + column * (CELL + GAP)
            if isinstance(cell, str):
                draw.text((left, top), cell, fill=INK, font=font)
            else:
                canvas.paste(to_picture(cell).resize((CELL, _height(cell)), Image.Resampling.LANCZOS), (left, top))
        top += height + GAP
    return canvas


def mark_focus(image_3HW: Tensor, focus: tuple[float, float]) -> Tensor:
    """A copy of an image with a frame around its focus point."""
    height, width = image_3HW.shape[1:]
    half = MARK * min(height, width) / 2
    x, y = focus[0] * width, focus[1] * height
    picture = to_picture(image_3HW)
    box = (max(x - half, 0), max(y - half, 0), min(x + half, width - 1), min(y + half, height - 1))
    ImageDraw.Draw(picture).rectangle(box, outline=FOCUS, width=max(2, min(height, width) // 120))
    pixels = torch.frombuffer(bytearray(picture.tobytes()), dtype=torch.uint8)
    return pixels.view(height, width, 3).permute(2, 0, 1).float() / 255


def _row(sample: RefocusSample, results: Mapping[str, Results], methods: Sequence[str]) -> list[Tensor | str]:
    camera = sample.cameras[0]
    reference = mark_focus(sample.reference, camera.focus) if camera.bokeh > 0 else sample.reference
    return [reference, *(_picture(sample, name, results) for name in methods), sample.targets[0]]


def _picture(sample: RefocusSample, name: str, results: Mapping[str, Results]) -> Tensor | str:
    if name in FREE:
        return FREE[name](sample)
    output = results[name].load_output(sample.index) if name in results else None
    return "no output" if output is None else output


def _height(cell: Tensor | str) -> int:
    return LABEL if isinstance(cell, str) else round(CELL * cell.shape[1] / cell.shape[2])
