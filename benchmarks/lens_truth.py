"""Compare the renderer's two modes with ray-traced pictures through a thin lens.

Each scene is traced as a pinhole image with exact disparity, which the renderer is given, and through a lens, which it
should match. Both modes compute in the light that was traced (exponent 2.2). The lens picture is the mean of two
independent halves, whose difference says how noisy it is.

Writes the table into docs/optics.md and a picture beside it. What was traced is kept: a second run takes seconds;
with LLVM (see ``choose_variant``) the first takes 16 minutes of one core.

Usage: ``python benchmarks/lens_truth.py [--split heldout] [--scenes 20] [--samples 512] [--cache FOLDER]``
"""

from __future__ import annotations

import argparse
import hashlib
import math
import pickle
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path

import numpy as np
import skimage
import torch
from PIL import Image, ImageDraw
from scipy import ndimage
from torch import Tensor

from diffcam.camera import ThinLens, reference_scale
from diffcam.kernels import render_bokeh
from diffcam.simulation.draws import Draws
from diffcam.simulation.raytraced.materials import DISPLAY_GAMMA
from diffcam.simulation.raytraced.raytracer import RayTracer, choose_variant
from diffcam.simulation.raytraced.source import DepthRange, exposure
from diffcam.simulation.raytraced.staging import Staging, draw_staging
from diffcam.simulation.textures.photos import PhotoFolder

ROOT = Path(__file__).parents[1]
PAGE, PICTURE = ROOT / "docs" / "optics.md", ROOT / "docs" / "pictures" / "lens_truth.jpg"
MARKS = "<!-- made by benchmarks/lens_truth.py -->\n", "<!-- end -->"
PHOTOS = ("astronaut.png", "brick.png", "chelsea.png", "coffee.png", "grass.png", "gravel.png")
"""Free photos that come with scikit-image."""

SEEDS = {"heldout": 1000, "tuning": 2000}
"""No scene is in two splits."""

SIZE = (256, 256)
EDGE = 0.04
"""Neighbouring pixels whose disparities differ by more have a depth edge between them."""

BAND = 20
"""Pixels around a depth edge that are judged apart."""

LEVELS = (10.0, 32.0)
MODES = ("classical", "occlusion")
SHOWN = 4
"""Scenes in the picture: the first ones."""


@dataclass(frozen=True)
class Shot:
    """A lens picture of a scene and what the renderer is given for it.

    Args:
        image: The pinhole image in display values, not clipped: ``(3, H, W)``.
        disparity: ``(1, H, W)``.
        focus_disparity: In focus.
        level: Bokeh level.
        halves: Two independent lens pictures in the same exposure, linear light, ``(2, 3, H, W)``.
    """

    image: Tensor
    disparity: Tensor
    focus_disparity: float
    level: float
    halves: Tensor

    @property
    def truth(self) -> Tensor:
        """The lens picture in display values, clipped as a sensor would."""
        return display(self.halves.mean(0))

    def render(self, mode: str) -> Tensor:
        """What the renderer makes of it, clipped alike."""
        bokeh = self.level * reference_scale(*SIZE)
        rendered = render_bokeh(
            self.image[None],
            self.disparity[None],
            torch.tensor([self.focus_disparity]),
            torch.tensor([bokeh]),
            DISPLAY_GAMMA,
            mode=mode,
        )
        return rendered[0].clamp(0, 1)

    def near_edges(self) -> np.ndarray:
        """Pixels within the band around depth edges, (H, W)."""
        disparity = self.disparity[0].numpy()
        edges = np.zeros(disparity.shape, bool)
        edges[:, 1:] |= np.abs(np.diff(disparity, axis=1)) > EDGE
        edges[1:] |= np.abs(np.diff(disparity, axis=0)) > EDGE
        return ndimage.distance_transform_edt(~edges) <= BAND


def display(light: Tensor) -> Tensor:
    """Linear light as display values in [0, 1]."""
    return light.clamp(0, 1) ** (1 / DISPLAY_GAMMA)


@dataclass(frozen=True)
class Truth:
    """Ray-traced pictures of one scene, traced when they are first asked for and kept in a folder.

    Args:
        split: Names the seed.
        number: Of the scene.
        samples: Rays a pixel of a lens picture.
        cache: The folder.
    """

    split: str
    number: int
    samples: int
    cache: Path

    @cached_property
    def staging(self) -> Staging:
        """What the scene shows."""
        folder = Path(skimage.__file__).parent / "data"
        textures = PhotoFolder(folder, tuple(folder / name for name in PHOTOS), 512)
        return draw_staging(Draws("lens_truth", SEEDS[self.split], self.number), textures, SIZE)

    @cached_property
    def tracer(self) -> RayTracer:
        """The scene, loaded."""
        return RayTracer(self.staging.parts, self.staging.sky, choose_variant())

    def shot(self) -> Shot:
        """The lens picture: focused near in scenes of even number, far in the others."""
        view = self.staging.view
        pinhole = self._stored("pinhole", lambda: self.tracer.photograph(view, None, self.samples // 2, seed=0))
        depth = self._stored("depth", lambda: self.tracer.depth(view))
        between, scale = DepthRange.of(depth), exposure(pinhole)
        disparity = between.disparity(depth)
        draws = Draws("lens_truth", SEEDS[self.split], self.number, "lens")
        share = draws.uniform(0.02, 0.4) if self.number % 2 else draws.uniform(0.75, 0.98)
        focus, level = float(np.quantile(disparity.numpy(), share)), draws.uniform(*LEVELS)
        lens = between.lens(level, focus, view.framing)
        halves = torch.from_numpy(self._stored("lens", partial(self._halves, lens)) * scale)
        image = torch.from_numpy(pinhole * scale).permute(2, 0, 1) ** (1 / DISPLAY_GAMMA)
        return Shot(image, disparity, focus, level, halves)

    def _halves(self, lens: ThinLens) -> np.ndarray:
        pictures = [self.tracer.photograph(self.staging.view, lens, self.samples // 2, seed) for seed in (1, 2)]
        return np.stack(pictures).transpose(0, 3, 1, 2)

    def _stored(self, name: str, make: Callable[[], np.ndarray]) -> np.ndarray:
        """An array from the cache, or made and put there."""
        content = pickle.dumps((self.staging, self.samples, LEVELS, choose_variant()))
        path = self.cache / f"{self.split}-{self.number:03d}-{hashlib.sha256(content).hexdigest()[:12]}-{name}.npy"
        if not path.exists():
            started = time.process_time()
            self.cache.mkdir(parents=True, exist_ok=True)
            np.save(path.with_suffix(".unfinished.npy"), make())
            path.with_suffix(".unfinished.npy").replace(path)
            print(f"{path.name}: traced in {time.process_time() - started:.0f} s of one core", flush=True)
        return np.load(path)


@dataclass(frozen=True)
class Score:
    """Mean squared errors of display values, near depth edges and elsewhere, of a scene.

    Args:
        band: Share of the picture that lies near depth edges.
        noise: Of the lens picture: a quarter of its halves' squared difference.
        errors: By mode.
    """

    number: int
    level: float
    focus_disparity: float
    band: float
    noise: tuple[float, float]
    errors: dict[str, tuple[float, float]]

    @classmethod
    def of(cls, number: int, shot: Shot) -> Score:
        """Render a shot in both modes and hold it against the truth."""
        near = shot.near_edges()

        def split(difference: Tensor) -> tuple[float, float]:
            squared = difference.square().mean(0).numpy()
            return float(squared[near].mean()), float(squared[~near].mean())

        noise = split((display(shot.halves[0]) - display(shot.halves[1])) / 2)
        errors = {mode: split(shot.render(mode) - shot.truth) for mode in MODES}
        return cls(number, shot.level, shot.focus_disparity, float(near.mean()), noise, errors)


def decibels(error: float) -> float:
    """PSNR of values in [0, 1]."""
    return -10 * math.log10(error)


def table(scores: Sequence[Score], samples: int) -> str:
    """Means over the scenes and every scene, as Markdown."""

    def mean(name: str, where: int) -> float:
        chosen = [score.noise if name == "noise" else score.errors[name] for score in scores]
        return statistics.mean(decibels(errors[where]) for errors in chosen)

    lines = [
        "| PSNR, mean of scenes | classical | occlusion | difference | noise floor |",
        "| --- | --- | --- | --- | --- |",
    ]
    for where, name in enumerate((f"within {BAND} px of depth edges", "elsewhere")):
        gains = [
            decibels(score.errors["occlusion"][where]) - decibels(score.errors["classical"][where]) for score in scores
        ]
        error = statistics.stdev(gains) / math.sqrt(len(gains))
        lines.append(
            f"| {name} | {mean('classical', where):.2f} | {mean('occlusion', where):.2f} "
            f"| {statistics.mean(gains):+.2f} ± {error:.2f} ({min(gains):+.2f} to {max(gains):+.2f}) "
            f"| {mean('noise', where):.1f} |"
        )
    lines += [
        "",
        f"{len(scores)} scenes of {SIZE[0]}x{SIZE[1]}, {samples} rays a pixel, traced with {choose_variant()}; in dB.",
        "",
    ]
    lines += ["| scene | level | focus | share near edges | classical: near, elsewhere | occlusion | noise |"]
    lines += ["| --- " * 7 + "|"]
    for score in scores:
        pairs = [*(score.errors[mode] for mode in MODES), score.noise]
        cells = " | ".join(", ".join(f"{decibels(error):.1f}" for error in pair) for pair in pairs)
        lines.append(
            f"| {score.number} | {score.level:.0f} | {score.focus_disparity:.2f} | {score.band:.2f} | {cells} |"
        )
    return "\n".join(lines) + "\n"


def draw(shots: Sequence[Shot]) -> Image.Image:
    """A row a scene: what the renderer is given, the lens, and both modes."""
    names = ("pinhole", "disparity", "lens, ray-traced", *MODES)
    height, width = SIZE
    sheet = Image.new("RGB", (len(names) * width, 16 + len(shots) * height), "white")
    for column, name in enumerate(names):
        ImageDraw.Draw(sheet).text((column * width + 4, 2), name, fill="black")
    for row, shot in enumerate(shots):
        pictures = [shot.image.clamp(0, 1), shot.disparity.expand(3, -1, -1), shot.truth, *map(shot.render, MODES)]
        for column, picture in enumerate(pictures):
            pixels = (picture.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)
            sheet.paste(Image.fromarray(pixels), (column * width, 16 + row * height))
    return sheet


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--split", choices=sorted(SEEDS), default="heldout")
    parser.add_argument("--scenes", type=int, default=20)
    parser.add_argument("--samples", type=int, default=512, help="rays a pixel of the lens pictures")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "diffcam" / "lens_truth")
    arguments = parser.parse_args()
    shots = []
    for number in range(arguments.scenes):
        shots.append(Truth(arguments.split, number, arguments.samples, arguments.cache).shot())
    result = table([Score.of(number, shot) for number, shot in enumerate(shots)], arguments.samples)
    print(result)
    if arguments.split == "heldout":
        before, _, rest = PAGE.read_text().partition(MARKS[0])
        PAGE.write_text(before + MARKS[0] + result + MARKS[1] + rest.partition(MARKS[1])[2])
        draw(shots[:SHOWN]).save(PICTURE, quality=90)
        print(f"written: {PAGE}, {PICTURE}")


if __name__ == "__main__":
    main()
