"""Qualitative grids like the paper's figures 3 to 6: samples down, methods across, the focus point marked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from diffcam.benchmark.edition import Edition, SceneSamples
from diffcam.benchmark.results import Results
from diffcam.data.batch import RefocusSample
from diffcam.errors import DiffcamError
from diffcam.photo.pixels import from_picture, to_picture

CELL, GAP, LABEL = 256, 4, 22
"""Width of a picture, gap between cells and height of a line of text, pixels; chosen."""

GRID_SCENES = 4
"""Most scenes of a grid; chosen."""

FOCUS_FRAME = 0.12
"""Side of the frame around the focus point, as a share of the picture's short side; chosen."""

INK, PAPER, FOCUS_COLOUR = (20, 20, 20), (255, 255, 255), (230, 40, 40)
"""Colours of text, background and focus frame, 8-bit RGB; chosen."""


def write_grids(edition: Edition, results: Mapping[str, Results], folder: Path) -> list[Path]:
    """Write a PNG for each sub-task: reference, kept outputs of the methods, target (paper, figures 3 and 4).

    Scenes whose disparity map is wrong make one more, with the map (paper, figure 6).

    At most :data:`GRID_SCENES` scenes are shown, spread over the edition; methods that keep no outputs are left out.
    """
    shown, every = with_outputs(results), edition.scenes()
    rows = min(GRID_SCENES, len(every))
    chosen = [every[row * len(every) // rows] for row in range(rows)]
    folder.mkdir(parents=True, exist_ok=True)
    columns = {
        subtask: (["reference", *shown, "target"], [n for scene in chosen for n in _strongest(scene, subtask)])
        for subtask in dict.fromkeys(name for scene in chosen for name in scene.subtasks)
    }
    wrong = [scene for scene in every if scene.disparity_is_wrong][:GRID_SCENES]
    if wrong:
        columns["wrong_depth"] = (
            ["reference", "disparity", *shown, "target"],
            [n for scene in wrong for n in _strongest(scene, scene.subtasks[0])],
        )
    paths = []
    for name, (header, numbers) in columns.items():
        path = folder / f"{name}.png"
        sample_grid(readable(edition, numbers), header, results).save(path)
        paths.append(path)
    return paths


def sample_grid(
    samples: Sequence[RefocusSample], columns: Sequence[str], results: Mapping[str, Results]
) -> Image.Image:
    """Samples down and columns across, which are names of methods or of :data:`SAMPLE_COLUMNS`."""
    return draw_grid(columns, [[_cell(sample, name, results) for name in columns] for sample in samples])


def with_outputs(results: Mapping[str, Results]) -> list[str]:
    """Names of the methods whose outputs are kept."""
    return [name for name, one in results.items() if any(one.folder.glob("outputs/*.png"))]


def level_sweep(
    edition: Edition, results: Mapping[str, Results], path: Path, scene: str, methods: Sequence[str]
) -> Path:
    """A PNG of one scene's add-bokeh samples, levels across and methods down, as in the paper's figure 5.

    Raises:
        DiffcamError: If the edition has no such scene.
    """
    found = next((one for one in edition.scenes() if one.scene == scene), None)
    if found is None:
        raise DiffcamError(f"{scene}: no such scene in this edition")
    pairs = zip(found.numbers, found.subtasks, strict=True)
    added = readable(edition, [number for number, subtask in pairs if subtask == "add_bokeh"])
    samples = sorted(added, key=lambda sample: sample.cameras[0].bokeh)
    header = ["method", *(f"level {sample.cameras[0].bokeh:g}" for sample in samples)]
    rows = [[name, *(_cell(sample, name, results) for sample in samples)] for name in (*methods, "target")]
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
    half = FOCUS_FRAME * min(height, width) / 2
    x, y = focus[0] * width, focus[1] * height
    picture = to_picture(image_3HW)
    box = (max(x - half, 0), max(y - half, 0), min(x + half, width - 1), min(y + half, height - 1))
    ImageDraw.Draw(picture).rectangle(box, outline=FOCUS_COLOUR, width=max(2, min(height, width) // 120))
    return from_picture(picture)


def marked_reference(sample: RefocusSample) -> Tensor:
    """A sample's reference with its focus point marked; unmarked where the level is 0."""
    camera = sample.cameras[0]
    return mark_focus(sample.reference, camera.focus) if camera.bokeh > 0 else sample.reference


SAMPLE_COLUMNS: dict[str, Callable[[RefocusSample], Tensor]] = {
    "copy": lambda sample: sample.reference,
    "reference": marked_reference,
    "disparity": lambda sample: sample.disparity.expand(3, -1, -1),
    "target": lambda sample: sample.targets[0],
}
"""Columns that need no method's output."""


def picture(sample: RefocusSample, name: str, results: Mapping[str, Results]) -> Tensor | None:
    """A method's output for a sample, or one of :data:`SAMPLE_COLUMNS`; None where there is neither."""
    if name in SAMPLE_COLUMNS:
        return SAMPLE_COLUMNS[name](sample)
    return results[name].load_output(sample.index) if name in results else None


def _cell(sample: RefocusSample, name: str, results: Mapping[str, Results]) -> Tensor | str:
    found = picture(sample, name, results)
    return "no output" if found is None else found


def readable(edition: Edition, numbers: Sequence[int]) -> list[RefocusSample]:
    """The samples of some numbers without those of damaged scenes, which the tables name."""
    samples = []
    for number in numbers:
        with suppress(DiffcamError):
            samples.append(edition[number])
    return samples


def _strongest(scene: SceneSamples, subtask: str) -> list[int]:
    """Number of a scene's last sample of a sub-task, which has the highest level; empty where it has none."""
    return [n for n, name in zip(scene.numbers, scene.subtasks, strict=True) if name == subtask][-1:]


def _height(cell: Tensor | str) -> int:
    return LABEL if isinstance(cell, str) else round(CELL * cell.shape[1] / cell.shape[2])
