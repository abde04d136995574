"""``diffcam benchmark build``: photos of several sources become benchmark shards with a manifest of hashes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffcam.benchmark.glass import GlassRendering
from diffcam.benchmark.scenes import BenchmarkRendering, read_points
from diffcam.benchmark.traced import TracedSource
from diffcam.commands.simulate import make_shards
from diffcam.commands.source_options import SOURCES
from diffcam.errors import DiffcamError
from diffcam.functional.bokeh import DISPLAY_GAMMA
from diffcam.simulation import RaytracedSource
from diffcam.simulation.jobs.engines import LocalEngine
from diffcam.simulation.jobs.manifest import Manifest
from diffcam.simulation.jobs.writer import ShardJob
from diffcam.simulation.photographed.all_in_focus import DEFAULT_THRESHOLD
from diffcam.simulation.textures.photos import list_photos

PHOTO_SOURCES = ("camera", "phone", "ai")
"""Those whose scenes are photos, which a points file may name."""

SOURCE_NAMES = (*PHOTO_SOURCES, "layered", "glass", "raytraced")
SCENES_PER_SHARD = 30


def add_build_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line of ``diffcam benchmark build``."""
    for name in PHOTO_SOURCES:
        parser.add_argument(
            f"--{name}", type=Path, metavar="FOLDER", help=f"photos of the {name} part (paper: 60, 30, 60)"
        )
    parser.add_argument("--layered", type=Path, metavar="FOLDER", help="photos that layered scenes are made of")
    parser.add_argument(
        "--glass", type=Path, metavar="FOLDER", help="the same, behind glass that the map takes for solid"
    )
    parser.add_argument(
        "--raytraced",
        type=Path,
        metavar="FOLDER",
        help="photos on the surfaces of ray-traced scenes; true lens pictures",
    )
    parser.add_argument("--scenes", type=int, help="how many of each source (default: all photos; 60 made scenes)")
    parser.add_argument("--samples", type=int, default=64, help="rays a pixel of ray-traced ones (default %(default)s)")
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
    parser.add_argument(
        "--gamma", type=float, default=DISPLAY_GAMMA, help="gamma of the renderer (default: the config's, %(default)s)"
    )
    parser.add_argument("--quality", type=int, default=95, help="JPEG quality 1 to 100, or 0 for PNG")
    parser.add_argument("--seed", type=int, default=0, help="the same seed and photos give the same bytes")
    parser.add_argument("--attribution", default="", help="licence and authors, kept in every scene")
    parser.add_argument("--output", type=Path, required=True, help="folder for the shards and manifests")
    parser.add_argument("--name", default="benchmark", help="shards are called NAME-SOURCE-000000.tar")
    parser.add_argument("--device", default="cpu", help="where targets are rendered and disparity is estimated")
    parser.add_argument("--workers", type=int, default=1, help="processes (default %(default)s)")
    parser.add_argument("--force", action="store_true", help="replace an edition of other settings in the same place")


def build(args: argparse.Namespace) -> int:
    """Make the shards of every source that is named, and return the exit status.

    Raises:
        DiffcamError: If no source is named or an option does not fit.
    """
    folders = {name: getattr(args, name) for name in SOURCE_NAMES if getattr(args, name) is not None}
    if not folders:
        raise DiffcamError(
            "name at least one folder of photos: --camera, --phone, --ai, --layered, --glass or --raytraced"
        )
    _check(args)
    points = _points(args.points, [folders[name] for name in PHOTO_SOURCES if name in folders]) if args.points else {}
    options = {
        name: getattr(args, name) for name in ("seed", "gamma", "quality", "device", "attribution", "size", "described")
    }
    args.output.mkdir(parents=True, exist_ok=True)
    for name, folder in folders.items():
        kind = GlassRendering if name == "glass" else BenchmarkRendering
        _build_source(args, name, folder, kind(points=points, **options))
    return 0


def _build_source(args: argparse.Namespace, name: str, folder: Path, rendering: BenchmarkRendering) -> None:
    disparity = args.disparity / name if args.disparity else None
    size = (args.size, args.size)
    options = {**vars(args), "folder": folder, "source": name, "disparity": disparity, "size": size}
    if name in ("layered", "glass", "raytraced"):
        options |= {"scenes": args.scenes or 60, "source": "layered" if name == "glass" else name, "variants": 0}
    source = SOURCES[options["source"]](argparse.Namespace(**options))
    if isinstance(source, RaytracedSource):
        source = TracedSource.of(source)
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


def _points(path: Path, folders: Sequence[Path]) -> dict[str, Any]:
    """The points of a file, every one of a photo that there is."""
    points = read_points(path)
    photos = {photo.relative_to(folder).as_posix() for folder in folders for photo in list_photos(folder)}
    unknown = [name for name in points if name not in photos]
    if unknown:
        raise DiffcamError(f"--points {path}: no photo of --camera, --phone or --ai is called {', '.join(unknown)}")
    return points


def _check(args: argparse.Namespace) -> None:
    ranges = {"size": (64, 4096), "gamma": (1, 5), "quality": (0, 100), "workers": (1, 1024), "scenes": (1, 999_999)}
    for option, (least, most) in ranges.items():
        value = getattr(args, option)
        if value is not None and not least <= value <= most:
            raise DiffcamError(f"--{option} {value}: must lie in {least} to {most}")
