"""Judge refocusing on blur that no renderer of diffcam made: ray-traced lenses, real focus stacks, sharp photos.

Traced scenes have a pinhole picture, exact disparity and three pictures through a thin lens: two with the focus near
and far at one level, one with the focus between them at another level. Blur is added to the pinhole picture, removed
from each lens picture, and moved between the first two. Of a focus stack, each slice is the photo and the other the
truth, judged where it must become sharper and where it must become softer. Sharp photos are asked for level 0: as they
are, with noise, and compressed. A control renders the same scenes with diffcam's classical renderer: a method that is
much better there than on the real thing has learned the renderer.

Writes the tables into docs/real_optics.md. What was traced and scored is kept in a folder, by scene and row: a second
run takes seconds, and ``--again ROW`` scores a row anew.

Usage: ``python benchmarks/real_optics.py [--scenes 16] [--stacks FOLDER] [--photos FOLDER] [--model NAME]``
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import skimage
import torch
from PIL import Image
from scipy import ndimage
from torch import Tensor

import diffcam
from diffcam.benchmark.deblurring import LayeredDeconvolution, OracleDeconvolution
from diffcam.camera import Camera, reference_scale
from diffcam.data.batch import RefocusSample
from diffcam.data.rendering import BokehRenderer
from diffcam.kernels import render_bokeh
from diffcam.simulation.draws import Draws
from diffcam.simulation.photographed.all_in_focus import DEFAULT_THRESHOLD, measure_sharpness
from diffcam.simulation.raytraced.raytracer import RayTracer, choose_variant
from diffcam.simulation.raytraced.source import DepthRange, develop, exposure
from diffcam.simulation.raytraced.staging import draw_staging
from diffcam.simulation.textures.photos import PhotoFolder

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "real_optics.md"
PHOTOS = ("astronaut.png", "brick.png", "chelsea.png", "coffee.png", "grass.png", "gravel.png")
"""Free photos that come with scikit-image: the textures of traced scenes."""

SEED = 16_000
"""Of the traced scenes; none of them is trained on."""

SIZE = (256, 256)
GAMMA = 2.2
"""Exponent of the light of all pictures here."""

LEVELS = (8.0, 32.0)
"""Range of the bokeh levels of traced scenes, drawn log-uniformly: radii of up to 16 px at 256 px."""

SHARPER = 0.5
"""Pixels by which the blur radius must change for a place of a stack to count as one to be made sharper or softer."""

EDGE, BAND = 0.04, 20
"""Neighbours whose disparities differ by more have a depth edge between them; pixels around it are judged apart."""

INTRODUCTION = """# Real optics

What refocusing gives on pictures that no renderer of diffcam made, by `python benchmarks/real_optics.py`: PSNR in
display values, the 95 % interval of the mean over scenes, and in how many pictures a row is worse than copying the
photo by more than 0.1 dB.

- *Traced*: scenes by Mitsuba's thin lens, 256x256 pixels; blur added to the pinhole picture (everywhere, and within 20
  pixels of depth edges), focus moved, blur removed.
- *Stacks*: two slices of real focus stacks, each the photo and the other the truth, where the photo must become sharper
  or softer by at least half a pixel of radius.
- *Control*: the same scenes through the classical renderer. A method that is much better there has learned a renderer.
- *Lens told*: disparity, focus and level of the photo are given; *map*: disparity alone; *neither*: the photo alone.
"""

TASKS = (
    *("traced add", "traced add, near edges", "traced move", "traced remove"),
    *("stacks, sharper", "stacks, softer"),
)
"""Columns of the tables."""

WORSE = 0.1
"""dB below copying from which a picture counts as worse."""

NOISE = 2.0 / 255
"""Deviation of the noise that sharp photos are given."""

QUALITY = 50
"""Of the JPEG files that sharp photos are made to."""


@dataclass(frozen=True)
class Lens:
    """Which plane is in focus and how much the rest is blurred.

    Args:
        focus: Fractions of width and height of a point in the plane.
        focus_disparity: Of the plane.
        level: Bokeh level.
    """

    focus: tuple[float, float]
    focus_disparity: float
    level: float

    def radius(self, disparity_1HW: Tensor) -> Tensor:
        """Signed blur radius in pixels, ``(1, H, W)``."""
        return self.level * reference_scale(*disparity_1HW.shape[1:]) * (disparity_1HW - self.focus_disparity)

    def render(self, image_3HW: Tensor, disparity_1HW: Tensor, mode: str) -> Tensor:
        """A picture that is in focus everywhere, through this lens."""
        bokeh = torch.tensor([self.level * reference_scale(*disparity_1HW.shape[1:])])
        plane = torch.tensor([self.focus_disparity])
        return render_bokeh(image_3HW[None], disparity_1HW[None], plane, bokeh, GAMMA, mode=mode)[0].clamp(0, 1)


@dataclass(frozen=True)
class Case:
    """One picture to make.

    Args:
        scene: Its scene: intervals are over scenes.
        task: Name of the column.
        photo: ``(3, H, W)``, 8 bits.
        truth: ``(3, H, W)``.
        disparity: ``(1, H, W)``.
        taken: Lens of the photo.
        asked: Lens of the truth.
        mask: Where it is judged, ``(H, W)`` bool.
    """

    scene: str
    task: str
    photo: Tensor
    truth: Tensor
    disparity: Tensor
    taken: Lens
    asked: Lens
    mask: Tensor

    def sample(self) -> RefocusSample:
        """The same for methods of the benchmark."""
        return RefocusSample(
            reference=self.photo,
            targets=self.truth[None],
            disparity=self.disparity,
            cameras=(Camera(self.asked.focus, self.asked.level),),
            index=0,
            scene=self.scene,
            subtask="refocus",
            source="real",
            exact_disparity=self.disparity,
            reference_blur=(self.taken.focus_disparity, self.taken.level),
        )


def rounded(image: Tensor) -> Tensor:
    """Display values as a file of 8 bits keeps them."""
    return (image.clamp(0, 1) * 255).round() / 255


def psnr(output: Tensor, truth: Tensor, mask: Tensor) -> float:
    """Of display values in [0, 1], inside a mask ``(H, W)``."""
    error = float((output - truth).square()[:, mask].mean())
    return -10 * math.log10(max(error, 1e-8))


# Traced scenes --------------------------------------------------------------------------------------------------------


def trace(number: int, samples: int) -> dict[str, Any]:
    """Scene ``number``: its pinhole picture, disparity, and three lens pictures: focus near, far and between."""
    folder = Path(skimage.__file__).parent / "data"
    textures = PhotoFolder(folder, tuple(folder / name for name in PHOTOS), 512)
    staging = draw_staging(Draws("raytraced", SEED, number), textures, SIZE)
    tracer, view = RayTracer(staging.parts, staging.sky, choose_variant()), staging.view
    depth, light = tracer.depth(view), tracer.photograph(view, None, samples, seed=0)
    between, scale = DepthRange.of(depth), exposure(light)
    disparity = between.disparity(depth)
    draws = Draws("real-optics", SEED, number)
    levels = [math.exp(draws.uniform(*np.log(LEVELS))) for _ in range(2)]
    shares = draws.uniform(0.8, 0.98), draws.uniform(0.02, 0.2), draws.uniform(0.3, 0.7)
    order = disparity.flatten().argsort()
    lenses, pictures = [], []
    for seed, (share, level) in enumerate(zip(shares, (levels[0], levels[0], levels[1]), strict=True), start=1):
        # In focus: the pixel whose disparity this share of the pixels stays below.
        row, column = divmod(int(order[int(share * (disparity.numel() - 1))]), SIZE[1])
        plane = float(disparity[0, row, column])
        lenses.append((((column + 0.5) / SIZE[1], (row + 0.5) / SIZE[0]), plane, level))
        lens = between.lens(level, plane, view.framing)
        pictures.append(develop(tracer.photograph(view, lens, samples, seed=seed) * scale))
    return {"image": develop(light * scale), "disparity": disparity, "lenses": lenses, "pictures": pictures}


def traced_scene(number: int, samples: int, cache: Path) -> dict[str, Any]:
    """Scene ``number``, from the cache or traced and put there."""
    path = cache / f"traced-{SEED}-{number:03d}-{samples}-{LEVELS[1]:g}.pt"
    if not path.exists():
        started = time.process_time()
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(trace(number, samples), path.with_suffix(".unfinished"))
        path.with_suffix(".unfinished").replace(path)
        print(f"{path.name}: traced in {time.process_time() - started:.0f} s of processor time", flush=True)
    stored = torch.load(path, weights_only=True)
    assert isinstance(stored, dict)
    return stored


def traced_cases(number: int, samples: int, cache: Path, control: bool) -> Iterator[Case]:
    """Blur added to, removed from and moved in a traced scene.

    Args:
        number: Of the scene.
        samples: Rays a pixel.
        cache: Where scenes are kept.
        control: Lens pictures come from the classical renderer.
    """
    stored = traced_scene(number, samples, cache)
    sharp, disparity = rounded(stored["image"]), stored["disparity"]
    lenses = [Lens(*numbers) for numbers in stored["lenses"]]
    pictures = [rounded(picture) for picture in stored["pictures"]]
    if control:
        pictures = [rounded(lens.render(sharp, disparity, "classical")) for lens in lenses]
    everywhere = torch.ones(SIZE, dtype=torch.bool)
    prefix = "control " if control else ""
    name = f"traced {number:02d}"
    for lens, picture in zip(lenses, pictures, strict=True):
        none = replace(lens, level=0.0)
        yield Case(name, prefix + "traced add", sharp, picture, disparity, none, lens, everywhere)
        edges = near_edges(disparity)
        yield Case(name, prefix + "traced add, near edges", sharp, picture, disparity, none, lens, edges)
        yield Case(name, prefix + "traced remove", picture, sharp, disparity, lens, none, everywhere)
    for start, end in ((0, 1), (1, 0)):
        pair = pictures[start], pictures[end], disparity, lenses[start], lenses[end]
        yield Case(name, prefix + "traced move", *pair, everywhere)


def near_edges(disparity_1HW: Tensor) -> Tensor:
    """Pixels within the band around depth edges, ``(H, W)`` bool."""
    disparity = disparity_1HW[0].numpy()
    edges = np.zeros(disparity.shape, bool)
    edges[:, 1:] |= np.abs(np.diff(disparity, axis=1)) > EDGE
    edges[1:] |= np.abs(np.diff(disparity, axis=0)) > EDGE
    return torch.from_numpy(ndimage.distance_transform_edt(~edges) <= BAND)


# Focus stacks ---------------------------------------------------------------------------------------------------------


def picture(path: Path | io.BytesIO) -> Tensor:
    """A file's display values, ``(3, H, W)``."""
    return torch.from_numpy(np.array(Image.open(path).convert("RGB"))).permute(2, 0, 1).float() / 255


def stack_cases(folder: Path, control: bool) -> Iterator[Case]:
    """Each slice of a stack as the photo and the other as the truth."""
    told = json.loads((folder / "meta.json").read_text())
    slices = [picture(folder / f"{name}.jpg") for name in ("near", "far")]
    disparity = torch.from_numpy(np.array(Image.open(folder / "disparity.png")).astype(np.float32) / 65535)[None]
    lenses = [Lens(tuple(told[n]["focus"]), told[n]["disparity"], told["level"]) for n in ("near", "far")]
    sizes = [lens.radius(disparity).abs() for lens in lenses]
    if control:
        composite = torch.where(sizes[0] <= sizes[1], slices[0], slices[1])
        slices = [rounded(lens.render(composite, disparity, "classical")) for lens in lenses]
    prefix = "control " if control else ""
    for start, end in ((0, 1), (1, 0)):
        pair = slices[start], slices[end], disparity, lenses[start], lenses[end]
        masks = {"sharper": sizes[start] > sizes[end] + SHARPER, "softer": sizes[end] > sizes[start] + SHARPER}
        for name, mask_1HW in masks.items():
            if bool(mask_1HW.any()):
                yield Case(f"stack {folder.name}", f"{prefix}stacks, {name}", *pair, mask_1HW[0])


# Rows -----------------------------------------------------------------------------------------------------------------

Row = Callable[[Case], Tensor | None]
"""From a case to an output ``(3, H, W)``; None where the row says nothing about the task."""


def rows(model: str) -> dict[str, Row]:
    """The rows of the tables, by name; those of the model are told the lens, the map, or neither."""
    renderer = BokehRenderer(gamma=GAMMA)
    pipeline = cache(lambda: diffcam.RefocusPipeline.from_pretrained(model))

    def render(mode: str) -> Row:
        return lambda case: case.asked.render(case.photo, case.disparity, mode) if case.asked.level else None

    def refocus(depth: bool, lens: bool) -> Row:
        def row(case: Case) -> Tensor:
            pipe = pipeline()
            taken_with = Camera(case.taken.focus, case.taken.level) if lens else None
            session = pipe.open(case.photo, case.disparity[0] if depth else "none", taken_with=taken_with)
            asked = [Camera(case.asked.focus, case.asked.level)]
            return session.images(session.latents(asked, pipe.settings.steps), asked)[0]

        return row

    def blurred(method: LayeredDeconvolution) -> Row:
        return lambda case: method(case.sample()).clamp(0, 1) if case.taken.level else None

    name = Path(model).name
    return {
        "copy": lambda case: case.photo,
        "classical render of the photo": render("classical"),
        "occlusion render of the photo": render("occlusion"),
        "deconvolution, radii estimated": blurred(LayeredDeconvolution(renderer=renderer)),
        "deconvolution, radii told": blurred(OracleDeconvolution(renderer=renderer)),
        f"{name}, lens told": refocus(depth=True, lens=True),
        f"{name}, map": refocus(depth=True, lens=False),
        f"{name}, neither": refocus(depth=False, lens=False),
    }


# Sharp photos ---------------------------------------------------------------------------------------------------------


def sharp_photos(folder: Path, count: int) -> Iterator[tuple[str, Tensor]]:
    """Photos of a folder that are in focus everywhere, evenly picked."""
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
    yielded = 0
    for path in paths[:: max(1, len(paths) // (2 * count))]:
        image_3HW = picture(path)
        if yielded < count and measure_sharpness(image_3HW).score >= DEFAULT_THRESHOLD:
            yielded += 1
            yield path.stem, image_3HW


# Scores ---------------------------------------------------------------------------------------------------------------


class Scores:
    """Scores by row and case, kept in a file: a number, or one for each way that a sharp photo is given.

    Args:
        path: The file.
        again: Beginnings of rows whose stored scores are not taken.
    """

    def __init__(self, path: Path, again: Sequence[str]) -> None:
        self.path = path
        stored = json.loads(path.read_text()) if path.exists() else {}
        self.rows: dict[str, dict[str, Any]] = {
            row: cases for row, cases in stored.items() if not row.startswith(tuple(again))
        }

    def add(self, row: str, case: str, make: Callable[[], Any]) -> Any:
        """The score of a case, computed if it is not there."""
        cases = self.rows.setdefault(row, {})
        if case not in cases:
            cases[case] = make()
        return cases[case]

    def save(self) -> None:
        """Write the file."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.rows))


def interval(values: Sequence[float], scenes: Sequence[str], draws: int = 1000) -> tuple[float, float]:
    """95 % of the means of scenes drawn with replacement."""
    names = sorted(set(scenes))
    means = np.array([[v for v, s in zip(values, scenes, strict=True) if s == n] for n in names], dtype=object)
    sums, counts = np.array([sum(m) for m in means]), np.array([len(m) for m in means])
    chosen = np.random.default_rng(0).integers(0, len(names), (draws, len(names)))
    found = sums[chosen].sum(1) / counts[chosen].sum(1)
    return float(np.quantile(found, 0.025)), float(np.quantile(found, 0.975))


def table(scores: Scores, tasks: Sequence[str], names: Sequence[str]) -> str:
    """PSNR of rows and tasks with intervals, and in how many pictures each is worse than copying."""
    lines = ["| PSNR, dB | " + " | ".join(tasks) + " |", "| --- |" + " ---: |" * len(tasks)]
    for name in names:
        cells = []
        for task in tasks:
            cases = {key: value for key, value in scores.rows.get(name, {}).items() if key.split("|")[1] == task}
            values = [(key, value) for key, value in cases.items() if value is not None]
            if not values:
                cells.append("")
                continue
            scenes, numbers = [key.split("|")[0] for key, _ in values], [value for _, value in values]
            low, high = interval(numbers, scenes)
            cell = f"{np.mean(numbers):.2f} [{low:.1f}, {high:.1f}]"
            if name != "copy":
                copies = scores.rows["copy"]
                worse = sum(value < copies[key] - WORSE for key, value in values)
                cell += f", {worse} of {len(values)} worse"
            cells.append(cell)
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def score_cases(cases: Iterable[Case], found: dict[str, Row], scores: Scores) -> None:
    """Score every row on the cases of one scene; pictures that several cases judge are made once."""
    made: dict[tuple[str, str], Tensor | None] = {}
    for case in cases:
        content = hashlib.sha256(case.photo.numpy().tobytes() + case.truth.numpy().tobytes()).hexdigest()[:8]

        def score(name: str, case: Case = case, content: str = content) -> float | None:
            if (name, content) not in made:
                made[name, content] = found[name](case)
            output = made[name, content]
            return None if output is None else psnr(output, case.truth, case.mask)

        for name in found:
            scores.add(name, f"{case.scene}|{case.task}|{content}", partial(score, name))
    scores.save()


def sharp_photo_scores(row: Row, image_3HW: Tensor, number: int) -> list[float]:
    """A sharp photo asked for level 0, nothing known of its depth.

    Returns:
        PSNR of the output to the photo; how much of noise and of JPEG's faults comes out again, as a factor of power.
    """
    flat, none = torch.zeros_like(image_3HW[:1]), Lens((0.5, 0.5), 0.0, 0.0)
    whole = torch.ones(image_3HW.shape[1:], dtype=torch.bool)

    def ask(given_3HW: Tensor) -> Tensor:
        output = row(Case("", "", given_3HW, given_3HW, flat, none, none, whole))
        assert output is not None
        return output

    clean = ask(image_3HW)
    noisy_3HW = rounded(
        image_3HW + NOISE * torch.randn(image_3HW.shape, generator=torch.Generator().manual_seed(number))
    )
    file = io.BytesIO()
    Image.fromarray((image_3HW * 255).round().byte().permute(1, 2, 0).numpy()).save(file, "JPEG", quality=QUALITY)
    kept = [
        float((ask(given) - clean).square().mean() / (given - image_3HW).square().mean())
        for given in (noisy_3HW, picture(file))
    ]
    return [psnr(clean, image_3HW, whole), *kept]


def score_photos(folder: Path, count: int, found: dict[str, Row], scores: Scores) -> str:
    """The table of sharp photos."""
    lines = [
        "| sharp photos, asked for level 0, no map | PSNR to the photo: mean, least | noise kept | JPEG faults kept |"
    ]
    lines += ["| --- |" + " ---: |" * 3]
    photos = list(sharp_photos(folder, count))
    for name, row in found.items():
        kept = []
        for number, (stem, image_3HW) in enumerate(photos):
            make = partial(sharp_photo_scores, row, image_3HW, number)
            kept.append(scores.add(name, f"photo {stem}|sharp photos|", make))
        exact, noise, faults = np.array(kept).T
        lines.append(
            f"| {name} | {exact.mean():.1f}, {exact.min():.1f} | {noise.mean():.2f}, most {noise.max():.2f} "
            f"| {faults.mean():.2f}, most {faults.max():.2f} |"
        )
        scores.save()
    return "\n".join(lines) + f"\n\n{len(photos)} photos.\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scenes", type=int, default=16)
    parser.add_argument("--samples", type=int, default=128, help="rays a pixel")
    parser.add_argument("--stacks", type=Path, help="folder of focus stacks")
    parser.add_argument("--photos", type=Path, help="folder of photos, of which the sharp ones are asked for level 0")
    parser.add_argument("--photo-count", type=int, default=24)
    parser.add_argument("--model", default="diffcam-tiny", help="packaged name or folder")
    parser.add_argument("--rows", nargs="*", help="beginnings of the rows to score; the rest is taken as stored")
    parser.add_argument("--again", nargs="*", default=[], help="beginnings of rows to score anew")
    parser.add_argument("--control", action="store_true", help="score the control, too")
    parser.add_argument("--cache", type=Path, default=ROOT / "outputs" / "real_optics")
    arguments = parser.parse_args()
    scores = Scores(arguments.cache / "scores.json", arguments.again)
    found = rows(arguments.model)
    if arguments.rows is not None:
        found = {name: row for name, row in found.items() if name.startswith(tuple(arguments.rows))}
    sections = []
    stacks = sorted(path for path in arguments.stacks.iterdir() if path.is_dir()) if arguments.stacks else []
    for control in (False, True) if arguments.control else (False,):
        # What is found of the lens is not what the control asks.
        skipped = (", map", ", neither") if control else ()
        scored = {name: row for name, row in found.items() if not name.endswith(skipped)}
        for number in range(arguments.scenes):
            score_cases(traced_cases(number, arguments.samples, arguments.cache, control), scored, scores)
        for folder in stacks:
            score_cases(stack_cases(folder, control), scored, scores)
        prefix, title = ("control ", "Control: rendered classically") if control else ("", "Lenses")
        names = [name for name in scores.rows if not name.endswith(skipped)]
        sections.append(f"## {title}\n\n" + table(scores, [prefix + task for task in TASKS], names))
        print(sections[-1], flush=True)
    if arguments.photos:
        models = {name: row for name, row in found.items() if name.endswith(", neither")}
        sections.append("## Sharp photos\n\n" + score_photos(arguments.photos, arguments.photo_count, models, scores))
        print(sections[-1])
    PAGE.write_text(INTRODUCTION + "\n" + "\n".join(sections))


if __name__ == "__main__":
    main()
