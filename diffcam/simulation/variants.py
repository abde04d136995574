"""Renditions of a scene: the paper's grid of focus planes and bokeh levels, draws from it, and benchmark samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import torch
from torch import Generator

from diffcam.camera import Aperture, Camera
from diffcam.data.rendering import BokehRenderer
from diffcam.data.schema import Sample, Scene, Variant
from diffcam.errors import DiffcamError
from diffcam.functional.bokeh import PAPER_GAMMA
from diffcam.grid import FOCUS_TOLERANCE, LEVELS, PLANES, choose, draw_in_focus, pixel_centre

if TYPE_CHECKING:  # importing the models takes seconds, which workers that need none would wait for
    from diffcam.pretrained.bokehme import BokehMe

REFOCUS_DISTANCE = 0.25
"""Disparity that the two planes of a refocus sample lie apart, if the scene has such: a difference that is seen."""

Renditions = int | Literal["grid", "benchmark"]
"""Which renditions of a scene are made: so many drawn from the grid, all 420 of it, or those of the benchmark."""

MANIFEST_NUMBERS: dict[Renditions, int] = {"grid": -1, "benchmark": 0}
"""How manifests write those that are no number."""


def draw_renditions(scene: Scene, renditions: Renditions, generator: Generator) -> tuple[Variant, ...]:
    """The renditions of a scene that are asked for, without their images; what it has in variants is not looked at."""
    if renditions == "grid":
        return full_grid(scene, generator)
    if renditions == "benchmark":
        return draw_benchmark_samples(scene, generator).variants
    return draw_variants(scene, renditions, generator)


def full_grid(scene: Scene, generator: Generator) -> tuple[Variant, ...]:
    """All 21 x 20 = 420 renditions of a scene (with its original: 421), plane by plane, without their images.

    A plane in which nothing lies has no focus point; it is kept, as in the paper, and points at the pixel whose
    disparity is nearest to it. ``Variant.focus_disparity`` tells the two apart.
    """
    variants = []
    for plane in PLANES:
        pixel = draw_in_focus(scene.disparity, plane, generator)
        if pixel is None:
            pixel = int((scene.disparity[0] - plane).abs().argmin())
        focus = pixel_centre(pixel, scene.disparity)
        variants += [Variant(Camera(focus, level), plane) for level in LEVELS]
    return tuple(variants)


def draw_variants(scene: Scene, count: int, generator: Generator) -> tuple[Variant, ...]:
    """``count`` draws from the grid: planes in which something lies, all of them before one comes again."""
    variants: list[Variant] = []
    while len(variants) < count:
        for step in torch.randperm(len(PLANES), generator=generator).tolist():
            pixel = draw_in_focus(scene.disparity, PLANES[step], generator)
            if pixel is not None and len(variants) < count:
                camera = Camera(pixel_centre(pixel, scene.disparity), LEVELS[choose(len(LEVELS), generator)])
                variants.append(Variant(camera, PLANES[step]))
    return tuple(variants)


@dataclass(frozen=True)
class Openings:
    """What a rendition's aperture is drawn from.

    Args:
        blades: Numbers of blades, each equally likely and in any rotation; 0 is round.
        cat_eye: The strongest clipping towards the corners, drawn from 0 up.
    """

    blades: tuple[int, ...] = (0,)
    cat_eye: float = 0.0

    def __post_init__(self) -> None:
        for blades in self.blades:
            Aperture(blades, cat_eye=self.cat_eye)  # refuses what is no aperture

    def fit(self, variant: Variant, generator: Generator) -> Variant:
        """The rendition with a drawn aperture."""
        choice, turn, cut = torch.rand(3, generator=generator).tolist()
        blades = self.blades[int(choice * len(self.blades))]
        aperture = Aperture(blades, 2 * math.pi * turn if blades else 0.0, self.cat_eye * cut)
        return replace(variant, camera=replace(variant.camera, aperture=aperture))


def render_variants(
    scene: Scene,
    variants: Sequence[Variant],
    *,
    gamma: float = PAPER_GAMMA,
    device: str = "cpu",
    mode: str = "classical",
    networks: Path | None = None,
) -> Scene:
    """The scene with the given variants, each rendered from its all-in-focus image.

    Args:
        mode: Of the renderer, see :class:`BokehRenderer`.
        networks: Folder of BokehMe's, which render instead, through round apertures.
    """
    image, disparity = scene.image.to(device), scene.disparity.to(device)
    renderer = BokehRenderer(gamma, mode=mode)
    rendered = []
    for variant in variants:
        if networks is not None:
            plane = torch.tensor([variant.focus_disparity], device=device)
            radius = torch.tensor([variant.camera.radius_per_disparity(*image.shape[1:])], device=device)
            picture = load_bokehme(networks, device)(image[None], disparity[None], plane, radius, gamma)[0]
        else:
            given = image, disparity, variant.focus_disparity, variant.camera
            picture = renderer(*given, surfaces=scene.surfaces)
        rendered.append(replace(variant, image=picture.clamp(0, 1).cpu()))
    return replace(scene, variants=tuple(rendered))


@cache
def load_bokehme(folder: Path, device: str) -> BokehMe:
    """BokehMe's networks, read from their files once in every process.

    Raises:
        DiffcamError: If a file is missing or is not of the release.
    """
    from diffcam.pretrained.bokehme import BokehMe

    return BokehMe.from_pretrained(folder).to(device)


def draw_benchmark_samples(scene: Scene, generator: Generator) -> Scene:
    """The scene with the ten samples of the benchmark (paper, section 4.1) and the variants that they name.

    Two refocus samples go between renditions of different focus points and levels, one each way; four add-bokeh samples
    go from the original to one focus point at four levels; four remove-bokeh samples go back, asked for as level 0
    focused at the image centre (paper, fig. 4). Variants carry no images: they are rendered when read.

    Raises:
        DiffcamError: If the whole scene lies in one plane, so that nothing can be refocused.
    """
    planes = [plane for plane in PLANES if bool(((scene.disparity - plane).abs() < FOCUS_TOLERANCE).any())]
    if len(planes) < 2:
        found = f"its disparity has {len(planes)}"
        raise DiffcamError(f"scene {scene.key}: a benchmark scene needs two focus planes, {found}")
    distant = [(a, b) for a in planes for b in planes if abs(a - b) >= REFOCUS_DISTANCE]
    first, second = distant[choose(len(distant), generator)] if distant else (planes[0], planes[-1])
    levels = torch.randperm(len(LEVELS), generator=generator)[:2].tolist()
    refocus = [
        _variant(scene, plane, LEVELS[level], generator) for plane, level in zip((first, second), levels, strict=True)
    ]
    plane = planes[choose(len(planes), generator)]
    base = _variant(scene, plane, LEVELS[0], generator)
    # One level from each quarter of the range, so that a scene's correlation with the level always has a spread.
    quarter = len(LEVELS) // 4
    drawn = [LEVELS[i * quarter + choose(quarter, generator)] for i in range(4)]
    added = [replace(base, camera=replace(base.camera, bokeh=float(level))) for level in drawn]
    return with_benchmark_samples(scene, refocus, added)


def with_benchmark_samples(scene: Scene, refocus: Sequence[Variant], added: Sequence[Variant]) -> Scene:
    """The scene with the samples between some renditions of it.

    Args:
        scene: The scene; its own variants and samples are replaced.
        refocus: Two renditions of different focus points.
        added: Renditions of one focus point, of rising level.
    """
    sharp = Camera((0.5, 0.5), 0.0)
    samples = [Sample("refocus", 0, 1, refocus[1].camera), Sample("refocus", 1, 0, refocus[0].camera)]
    samples += [Sample("add_bokeh", None, 2 + i, variant.camera) for i, variant in enumerate(added)]
    samples += [Sample("remove_bokeh", 2 + i, None, sharp) for i in range(len(added))]
    return replace(scene, variants=(*refocus, *added), samples=tuple(samples))


def _variant(scene: Scene, plane: float, level: float, generator: Generator) -> Variant:
    pixel = draw_in_focus(scene.disparity, plane, generator)
    assert pixel is not None, "the plane was found to hold something"
    return Variant(Camera(pixel_centre(pixel, scene.disparity), level), plane)
