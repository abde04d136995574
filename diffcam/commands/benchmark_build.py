"""``diffcam benchmark build``: photos of several sources become benchmark shards with a manifest of hashes."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from diffcam.benchmark.glass import GlassRendering
from diffcam.benchmark.scenes import BenchmarkRendering, read_points
from diffcam.commands.source_options import (
    RANGES,
    absolute_path,
    add_scene_arguments,
    add_shard_arguments,
    check_ranges,
    open_source,
    output_folder,
    rendering_options,
)
from diffcam.errors import DiffcamError
from diffcam.functional.bokeh import DISPLAY_GAMMA
from diffcam.simulation.jobs.engines import LocalEngine
from diffcam.simulation.jobs.plan import ShardPlan
from diffcam.simulation.textures.photos import list_photos

PHOTOS = {
    name: f"photos of the {name} part (paper: {count})" for name, count in (("camera", 60), ("phone", 30), ("ai", 60))
}
"""Parts whose scenes are photos, which a points file may name, and what their folders hold."""

MADE = {
    "layered": "photos that layered scenes are made of",
    "glass": "the same, behind glass that the map takes for solid",
    "raytraced": "photos on the surfaces of ray-traced scenes; true lens pictures",
}
"""Parts whose scenes are made, and what their folders hold."""

MADE_SCENES = 60
"""Scenes of a made part, where no number is given: as many as the paper's largest parts have."""

SCENES_PER_SHARD = 30
"""A shard of scenes with seven pictures of 512 pixels each is about 20 MB."""


def add_build_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line of ``diffcam benchmark build``."""
    for name, holds in (PHOTOS | MADE).items():
        parser.add_argument(f"--{name}", type=absolute_path, metavar="FOLDER", help=holds)
    add_scene_arguments(parser, made=MADE_SCENES, maps="sub-folders camera, phone and ai of maps")
    parser.add_argument("--points", type=Path, metavar="FILE", help="JSON of focus points and levels, by photo")
    parser.add_argument("--size", type=int, default=512, help="side of the square in pixels (default %(default)s)")
    parser.add_argument("--described", action="store_true", help="store no targets: they are rendered when read")
    add_shard_arguments(parser)
    parser.set_defaults(name="benchmark", gamma=DISPLAY_GAMMA, workers=1)


def build(args: argparse.Namespace) -> int:
    """Make the shards of every source that is named, and return the exit status.

    Raises:
        DiffcamError: If no source is named or an option does not fit.
    """
    folders = {name: vars(args)[name] for name in PHOTOS | MADE if vars(args)[name] is not None}
    if not folders:
        raise DiffcamError(f"name at least one folder of photos: {', '.join(f'--{name}' for name in PHOTOS | MADE)}")
    check_ranges(args, {**RANGES, "size": (64, 4096)})
    output = output_folder(args)
    points = read_points(args.points) if args.points else {}
    pointed = [folders[name] for name in PHOTOS if name in folders] if points else []
    photos = {photo.relative_to(folder).as_posix() for folder in pointed for photo in list_photos(folder)}
    if unknown := [name for name in points if name not in photos]:
        raise DiffcamError(
            f"--points {args.points}: no photo of --camera, --phone or --ai is called {', '.join(unknown)}"
        )
    for name, folder in folders.items():
        source = open_source(
            args,
            source="layered" if name == "glass" else name,
            folder=folder,
            scenes=args.scenes or (MADE_SCENES if name in MADE else None),
            size=(args.size, args.size),
            disparity=args.disparity / name if args.disparity else None,
            variants="benchmark",
        )
        rendering = (GlassRendering if name == "glass" else BenchmarkRendering)(
            size=args.size, described=args.described, points=points, **rendering_options(args)
        )
        plan = ShardPlan(
            output, f"{args.name}-{name}", source=source, rendering=rendering, scenes_per_shard=SCENES_PER_SHARD
        )
        print(plan.make(LocalEngine(args.workers), log=sys.stderr, force=args.force).summary())
    return 0
