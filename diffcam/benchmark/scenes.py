"""Benchmark scenes: a square of a photo, with samples at focus points that are drawn or made by hand."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field, replace
from pathlib import Path
from typing import Any

from diffcam.camera import Camera, focus_pixel
from diffcam.data.randomness import derived_generator
from diffcam.data.schema import Scene, Variant
from diffcam.data.window import centred_window
from diffcam.errors import DiffcamError
from diffcam.functional.bokeh import DISPLAY_GAMMA
from diffcam.simulation.jobs.writer import Rendering
from diffcam.simulation.variants import draw_benchmark_samples, render_variants, with_benchmark_samples


@dataclass(frozen=True)
class BenchmarkRendering(Rendering):
    """Adds the benchmark's samples to a scene, cut to a square.

    Args:
        size: Side of the square; 0 keeps the scene's frame.
        described: Store no targets but lens pictures that a scene brings.
        points: Focus points and levels by photo, see :func:`read_points`; what is not there is drawn.
    """

    _: KW_ONLY
    size: int = 512
    described: bool = False
    points: Mapping[str, Any] = field(default_factory=dict)

    @property
    def images_per_scene(self) -> int:
        """The original and six renditions, or, described, the original alone where a scene brings no pictures."""
        return 1 if self.described else 7

    def complete(self, scene: Scene, index: int) -> Scene:
        """The scene with samples; a pure function of scene, index and settings.

        Lens pictures that a scene brings are its samples' renditions, as they are, and of the gamma of a display.
        """
        metadata = {**scene.metadata, "gamma": DISPLAY_GAMMA if scene.variants else self.gamma}
        if self.attribution:
            metadata["attribution"] = self.attribution
        cut = cut_square(replace(scene, metadata=metadata), self.size)
        if scene.variants:
            return with_benchmark_samples(cut, scene.variants[:2], scene.variants[2:])
        drawn = draw_benchmark_samples(cut, derived_generator("variants", self.seed, index))
        refocus, added = list(drawn.variants[:2]), list(drawn.variants[2:])
        given = self.points.get(str(scene.metadata.get("photo", "")), {})
        if "refocus" in given:
            refocus = [_rendition(scene, cut, (x, y), level) for x, y, level in given["refocus"]]
        if "add_bokeh" in given:
            focus, levels = given["add_bokeh"]["focus"], given["add_bokeh"]["levels"]
            added = [_rendition(scene, cut, (focus[0], focus[1]), level) for level in levels]
        complete = with_benchmark_samples(cut, refocus, added)
        if self.described:
            return complete
        return render_variants(complete, complete.variants, gamma=self.gamma, device=self.device)


def cut_square(scene: Scene, size: int) -> Scene:
    """The central square of a scene, brought to a size; the scene itself for size 0."""
    if size == 0:
        return scene
    window = centred_window((scene.image.shape[1], scene.image.shape[2]), (size, size))
    return replace(scene, image=window.apply(scene.image), disparity=window.apply(scene.disparity))


def read_points(path: Path) -> dict[str, Any]:
    """Focus points and levels made by hand.

    One entry a photo, named as in its folder: ``{"street.jpg": {"refocus": [[x, y, level], [x, y, level]], "add_bokeh":
    {"focus": [x, y], "levels": [3, 8, 12, 19]}}}``; x and y are fractions of the photo's width and height. An entry may
    hold either part alone.

    Raises:
        DiffcamError: If the file is missing or an entry is not of that form.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DiffcamError(f"--points {path}: cannot be read ({error})") from error
    if not isinstance(content, dict):
        raise DiffcamError(f"--points {path}: must be an object with one entry a photo")
    for photo, entry in content.items():
        try:
            cameras = [Camera((x, y), level) for x, y, level in entry.get("refocus", [])]
            added = entry.get("add_bokeh", {"focus": (0.5, 0.5), "levels": (1, 2, 3, 4)})
            levels = [Camera(tuple(added["focus"]), level) for level in added["levels"]]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DiffcamError(f"--points {path}: {photo}: not points and levels ({error})") from error
        if "refocus" in entry and (len(cameras) != 2 or cameras[0].focus == cameras[1].focus):
            raise DiffcamError(f"--points {path}: {photo}: refocus needs two different points")
        if len({camera.bokeh for camera in levels}) != 4:
            raise DiffcamError(f"--points {path}: {photo}: add_bokeh needs four different levels")
    return content


def _rendition(scene: Scene, cut: Scene, focus: tuple[float, float], level: float) -> Variant:
    """A rendition focused at a point of the whole scene, as the cut shows it."""
    (height, width), (tall, wide) = scene.image.shape[1:], cut.image.shape[1:]
    window = centred_window((height, width), (tall, wide))
    x, y = focus[0] * width - window.left, focus[1] * height - window.top
    if not (0 <= x <= window.width and 0 <= y <= window.height):
        raise DiffcamError(
            f"{scene.metadata.get('photo', scene.key)}: the focus point {focus} lies outside of the central square"
        )
    point = window.locate(focus)
    row, column = focus_pixel(point, tall, wide)
    return Variant(Camera(point, level), float(cut.disparity[0, row, column]))
