"""``diffcam benchmark build``: photos of several sources become benchmark shards with a manifest of hashes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import Generator, Tensor

from diffcam.camera import Camera, focus_pixel
from diffcam.data.geometry import centred_window
from diffcam.data.randomness import derived_generator
from diffcam.data.schema import Scene, Variant
from diffcam.errors import DiffcamError
from diffcam.simulation.all_in_focus import DEFAULT_THRESHOLD
from diffcam.simulation.command import make_shards
from diffcam.simulation.engines import LocalEngine
from diffcam.simulation.manifest import Manifest
from diffcam.simulation.source_options import SOURCES
from diffcam.simulation.variants import draw_benchmark_samples, render_variants, with_benchmark_samples
from diffcam.simulation.writer import Rendering, ShardJob

SOURCE_NAMES = ("camera", "phone", "ai", "layered")
SCENES_PER_SHARD = 30


def add_build_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line of ``diffcam benchmark build``."""
    for name in ("camera", "phone", "ai"):
        parser.add_argument(
            f"--{name}", type=Path, metavar="FOLDER", help=f"photos of the {name} part (paper: 60, 30, 60)"
        )
    parser.add_argument("--layered", type=Path, metavar="FOLDER", help="photos that layered scenes are made of")
    parser.add_argument("--scenes", type=int, help="how many of each source (default: all photos; 60 layered scenes)")
    parser.add_argument("--disparity", type=Path, metavar="FOLDER", help="maps, in sub-folders camera, phone and ai")
    parser.add_argument("--depth-model", metavar="NAME", help="estimate disparity: a Depth Anything V2 name or folder")
    parser.add_argument("--inverse", action="store_true", help="the maps hold depth: large is far")
    parser.add_argument("--fill-holes", action="store_true", help="fill pixels without a value from the farther side")
    parser.add_argument(
        "--threshold", type=float, default=DEFAULT_THRESHOLD, help="least sharpness (default %(default)s)"
    )
    parser.add_argument("--points", type=Path, metavar="FILE", help="JSON of focus points and levels, by photo")
    parser.add_argument("--size", type=int, default=512, help="side of the square in pixels (default %(default)s)")
    parser.add_argument("--described", action="store_true", help="store no targets: they are rendered when read")
    parser.add_argument("--gamma", type=float, default=4.0, help="gamma of the renderer (default %(default)s)")
    parser.add_argument("--quality", type=int, default=95, help="JPEG quality 1 to 100, or 0 for PNG")
    parser.add_argument("--seed", type=int, default=0, help="the same seed and photos give the same bytes")
    parser.add_argument("--attribution", default="", help="licence and authors, kept in every scene")
    parser.add_argument("--output", type=Path, required=True, help="folder for the shards and manifests")
    parser.add_argument("--name", default="benchmark", help="shards are called NAME-SOURCE-000000.tar")
    parser.add_argument("--device", default="cpu", help="where targets are rendered and disparity is estimated")
    parser.add_argument("--workers", type=int, default=1, help="processes (default %(default)s)")
    parser.add_argument("--force", action="store_true", help="replace an edition of other settings in the same place")


@dataclass(frozen=True)
class BenchmarkRendering(Rendering):
    """Adds the benchmark's samples to a scene, cut to a square.

    Args:
        size: Side of the square; 0 keeps the scene's frame.
        described: Store no targets.
        points: Focus points and levels by photo, see :func:`read_points`; what is not there is drawn.
    """

    size: int = 512
    described: bool = False
    points: Mapping[str, Any] = field(default_factory=dict)

    @property
    def images_per_scene(self) -> int:
        """The original and six renditions, or the original alone."""
        return 1 if self.described else 7

    def complete(self, scene: Scene, index: int) -> Scene:
        """The scene with samples; a pure function of scene, index and settings."""
        metadata = {**scene.metadata, "gamma": self.gamma}
        if self.attribution:
            metadata["attribution"] = self.attribution
        cut = cut_square(replace(scene, metadata=metadata), self.size)
        given = self.points.get(str(scene.metadata.get("photo", "")), {})
        complete = place_samples(scene, cut, given, derived_generator("variants", self.seed, index))
        return complete if self.described else render_variants(complete, complete.variants, self.gamma, self.device)


def cut_square(scene: Scene, size: int) -> Scene:
    """The central square of a scene, brought to a size; the scene itself for size 0."""
    if size == 0:
        return scene
    window = centred_window((scene.image.shape[1], scene.image.shape[2]), (size, size))
    return replace(scene, image=window.apply(scene.image), disparity=window.apply(scene.disparity))


def place_samples(scene: Scene, cut: Scene, given: Mapping[str, Any], generator: Generator) -> Scene:
    """The cut scene with samples at given points; what is not given is drawn.

    Args:
        scene: The whole scene, whose fractions the points are.
        cut: What is shown of it.
        given: Entry of a points file.
        generator: Of the draws.

    Raises:
        DiffcamError: If a point lies outside of what is shown.
    """
    drawn = draw_benchmark_samples(cut, generator)
    refocus: Sequence[Variant] = drawn.variants[:2]
    added: Sequence[Variant] = drawn.variants[2:]
    if "refocus" in given:
        refocus = [_rendition(scene, cut, (x, y), level) for x, y, level in given["refocus"]]
    if "add_bokeh" in given:
        focus, levels = given["add_bokeh"]["focus"], given["add_bokeh"]["levels"]
        added = [_rendition(scene, cut, (focus[0], focus[1]), level) for level in levels]
    return with_benchmark_samples(cut, refocus, added)


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


def build(args: argparse.Namespace) -> int:
    """Make the shards of every source that is named, and return the exit status.

    Raises:
        DiffcamError: If no source is named or an option does not fit.
    """
    folders = {name: getattr(args, name) for name in SOURCE_NAMES if getattr(args, name) is not None}
    if not folders:
        raise DiffcamError("name at least one folder of photos: --camera, --phone, --ai or --layered")
    _check(args)
    points = read_points(args.points) if args.points else {}
    rendering = BenchmarkRendering(
        seed=args.seed, gamma=args.gamma, quality=args.quality, device=args.device, attribution=args.attribution,
        size=args.size, described=args.described, points=points,
    )  # fmt: skip
    args.output.mkdir(parents=True, exist_ok=True)
    for name, folder in folders.items():
        _build_source(args, name, folder, rendering)
    return 0


def _build_source(args: argparse.Namespace, name: str, folder: Path, rendering: BenchmarkRendering) -> None:
    disparity = args.disparity / name if args.disparity else None
    size = (args.size, args.size)
    options = {**vars(args), "folder": folder, "source": name, "disparity": disparity, "size": size}
    if name == "layered":
        options["scenes"] = args.scenes or 60
    source = SOURCES[name](argparse.Namespace(**options))
    stem = f"{args.name}-{name}"
    settings = {"source": source.describe(), "rendering": rendering.describe(), "scenes_per_shard": SCENES_PER_SHARD}
    manifest = Manifest.open(args.output / f"{stem}.json", settings, args.force)
    jobs = [
        ShardJob(
            args.output / f"{stem}-{number:06d}.tar",
            source,
            rendering,
            start,
            min(start + SCENES_PER_SHARD, len(source)),
        )
        for number, start in enumerate(range(0, len(source), SCENES_PER_SHARD))
    ]
    make_shards(manifest, jobs, LocalEngine(args.workers))


def _check(args: argparse.Namespace) -> None:
    ranges = {"size": (64, 4096), "gamma": (1, 5), "quality": (0, 100), "workers": (1, 1024), "scenes": (1, 999_999)}
    for option, (least, most) in ranges.items():
        value = getattr(args, option)
        if value is not None and not least <= value <= most:
            raise DiffcamError(f"--{option} {value}: must lie in {least} to {most}")


def _rendition(scene: Scene, cut: Scene, focus: tuple[float, float], level: float) -> Variant:
    """A rendition focused at a point of the whole scene, as the cut shows it."""
    window = centred_window(_size(scene.image), _size(cut.image))
    inside = (
        window.left <= focus[0] * scene.image.shape[2] <= window.left + window.width
        and window.top <= focus[1] * scene.image.shape[1] <= window.top + window.height
    )
    if not inside:
        raise DiffcamError(
            f"{scene.metadata.get('photo', scene.key)}: the focus point {focus} lies outside of the central square"
        )
    point = window.locate(focus)
    row, column = focus_pixel(point, *_size(cut.disparity))
    return Variant(Camera(point, level), float(cut.disparity[0, row, column]))


def _size(image_CHW: Tensor) -> tuple[int, int]:
    return image_CHW.shape[1], image_CHW.shape[2]
