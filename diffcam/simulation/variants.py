"""Renditions of a scene: the paper's grid of focus planes and bokeh levels, draws from it, and benchmark samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from diffcam.camera import Aperture, Camera
from diffcam.data.schema import Sample, Scene, Variant
from diffcam.errors import DiffcamError
from diffcam.functional.bokeh import PAPER_GAMMA
from diffcam.kernels import render_bokeh
from diffcam.simulation.neural import NeuralRenderer

PLANES = tuple(round(0.05 * step, 2) for step in range(21))
"""Focus disparities of the grid (paper, appendix D)."""

LEVELS = tuple(range(1, 21))
"""Bokeh levels of the grid (paper, appendix D)."""

FOCUS_TOLERANCE = 0.025
"""Eta of the in-focus set ``|d - d_f| < eta``, which the paper leaves open: half the grid's step."""


def draw_focus_point(
    disparity_1HW: Tensor, focus_disparity: float, generator: Generator, tolerance: float = FOCUS_TOLERANCE
) -> tuple[float, float] | None:
    """A point of the in-focus set ``{(x, y): |d(x, y) - d_f| < tolerance}``, all pixels equally likely.

    Args:
        disparity_1HW: ``(1, H, W)`` in [0, 1].
        focus_disparity: The plane in focus.
        generator: Where the draw comes from.
        tolerance: Eta.

    Returns:
        x and y of a pixel centre as fractions of width and height, or None where nothing lies in the plane.
    """
    height, width = disparity_1HW.shape[1:]
    inside = torch.nonzero((disparity_1HW[0] - focus_disparity).abs().flatten() < tolerance)[:, 0]
    if len(inside) == 0:
        return None
    chosen = int(inside[int(torch.randint(len(inside), (), generator=generator))])
    return (chosen % width + 0.5) / width, (chosen // width + 0.5) / height


def full_grid(scene: Scene, generator: Generator) -> tuple[Variant, ...]:
    """All 21 x 20 = 420 renditions of a scene (with its original: 421), plane by plane, without their images.

    A plane in which nothing lies has no focus point; it is kept, as in the paper, and points at the pixel whose
    disparity is nearest to it. ``Variant.focus_disparity`` tells the two apart.

    Args:
        scene: The scene; what it has in variants is not looked at.
        generator: Draws one focus point a plane.
    """
    variants = []
    for plane in PLANES:
        focus = draw_focus_point(scene.disparity, plane, generator) or _nearest_point(scene.disparity, plane)
        variants += [Variant(Camera(focus, level), plane) for level in LEVELS]
    return tuple(variants)


def draw_variants(scene: Scene, count: int, generator: Generator) -> tuple[Variant, ...]:
    """A drawn subset of the grid: planes in which something lies, all of them before one comes again.

    Args:
        scene: The scene.
        count: How many renditions.
        generator: Draws planes, levels and focus points.
    """
    variants: list[Variant] = []
    while len(variants) < count:
        for step in torch.randperm(len(PLANES), generator=generator).tolist():
            focus = draw_focus_point(scene.disparity, PLANES[step], generator)
            if focus is not None and len(variants) < count:
                level = LEVELS[int(torch.randint(len(LEVELS), (), generator=generator))]
                variants.append(Variant(Camera(focus, level), PLANES[step]))
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
    gamma: float = PAPER_GAMMA,
    device: str = "cpu",
    mode: str = "classical",
    network: NeuralRenderer | None = None,
) -> Scene:
    """The scene with the given variants, each rendered from its all-in-focus image.

    Args:
        scene: The scene.
        variants: Renditions to add images to.
        gamma: Of the renderer.
        device: Where to render.
        mode: Of the renderer, see :func:`render_bokeh`.
        network: Renders instead, through round apertures.
    """
    image, disparity = scene.image[None].to(device), scene.disparity[None].to(device)
    rendered = []
    for variant in variants:
        plane = torch.tensor([variant.focus_disparity], device=device)
        radius = torch.tensor([variant.camera.radius_per_disparity(*image.shape[2:])], device=device)
        if network is not None:
            picture = network(image, disparity, plane, radius, gamma)
        else:
            picture = render_bokeh(image, disparity, plane, radius, gamma, aperture=variant.camera.aperture, mode=mode)
        rendered.append(replace(variant, image=picture[0].clamp(0, 1).cpu()))
    return replace(scene, variants=tuple(rendered))


def draw_benchmark_samples(scene: Scene, generator: Generator) -> Scene:
    """The scene with the ten samples of the benchmark (paper, section 4.1) and the variants that they name.

    Two refocus samples go between renditions of different focus points and levels, one each way; four add-bokeh samples
    go from the original to one focus point at four levels; four remove-bokeh samples go back, asked for as level 0
    focused at the image centre (paper, fig. 4). Variants carry no images: they are rendered when read.

    Args:
        scene: A scene in which at least two planes of the grid hold something.
        generator: Draws focus points and levels.

    Raises:
        DiffcamError: If the whole scene lies in one plane, so that nothing can be refocused.
    """
    planes = [plane for plane in PLANES if bool(((scene.disparity - plane).abs() < FOCUS_TOLERANCE).any())]
    if len(planes) < 2:
        raise DiffcamError(
            f"scene {scene.key}: a benchmark scene needs two focus planes, its disparity has {len(planes)}"
        )
    first, second = _distant_pair(planes, generator)
    levels = torch.randperm(len(LEVELS), generator=generator)[:2].tolist()
    refocus = [
        _variant(scene, plane, LEVELS[level], generator) for plane, level in zip((first, second), levels, strict=True)
    ]
    plane = planes[int(torch.randint(len(planes), (), generator=generator))]
    base = _variant(scene, plane, LEVELS[0], generator)
    # One level from each quarter of the range, so that a scene's correlation with the level always has a spread.
    quarter = len(LEVELS) // 4
    drawn = [LEVELS[i * quarter + int(torch.randint(quarter, (), generator=generator))] for i in range(4)]
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
    focus = draw_focus_point(scene.disparity, plane, generator)
    assert focus is not None, "the plane was found to hold something"
    return Variant(Camera(focus, level), plane)


def _distant_pair(planes: Sequence[float], generator: Generator) -> tuple[float, float]:
    """Two planes at least a quarter of the range apart, or the two outermost where none are."""
    distant = [(a, b) for a in planes for b in planes if abs(a - b) >= 0.25]
    return distant[int(torch.randint(len(distant), (), generator=generator))] if distant else (planes[0], planes[-1])


def _nearest_point(disparity_1HW: Tensor, plane: float) -> tuple[float, float]:
    height, width = disparity_1HW.shape[1:]
    nearest = int((disparity_1HW[0] - plane).abs().argmin())
    return (nearest % width + 0.5) / width, (nearest // width + 0.5) / height
