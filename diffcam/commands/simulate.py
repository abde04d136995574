"""``diffcam simulate``: scenes from a folder of photos, as shards with a manifest."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path
from typing import Literal

import torch

from diffcam.commands.source_options import (
    absolute_path,
    add_scene_arguments,
    add_shard_arguments,
    check_ranges,
    open_source,
    output_folder,
    rendering_options,
    scene_size,
    tell,
)
from diffcam.data.rendering import SURFACES
from diffcam.errors import DiffcamError, first_line
from diffcam.kernels import MODES
from diffcam.photo import check_output
from diffcam.simulation.jobs.engines import LocalEngine, RayEngine
from diffcam.simulation.jobs.plan import IMAGES_PER_SHARD, ShardPlan
from diffcam.simulation.jobs.writer import Rendering
from diffcam.simulation.photographed.review import REVIEW_PHOTOS, review_photos
from diffcam.simulation.sources import SOURCES, SourceOptions
from diffcam.simulation.variants import Openings, load_bokehme

NEURAL = "bokehme"
"""Mode of ``--mode`` that is BokehMe's networks."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line of ``diffcam simulate``."""
    parser.add_argument("folder", type=absolute_path, nargs="?", help="photos; procedural and raytraced do without")
    parser.add_argument("--source", choices=sorted(SOURCES), default="layered", help="what scenes are made of")
    size = "HEIGHTxWIDTH of made scenes, or one number; photos are shrunk to its short side (default 512)"
    parser.add_argument("--size", type=scene_size, default=SourceOptions.size, help=size)
    add_scene_arguments(parser)
    generated = parser.add_argument_group("pictures of prompts (--source flux)")
    generated.add_argument("--prompts", type=Path, metavar="FILE", help="one prompt a line")
    generated.add_argument("--generator", default=SourceOptions.generator, help="FLUX name or folder")
    generated.add_argument("--generator-lora", metavar="FILE", help="safetensors LoRA against blurred backgrounds")
    added = parser.add_argument_group("what is added to each scene")
    variants = "renditions a scene: a number, or 'grid' for all 420 (default 0: rendered while training)"
    added.add_argument("--variants", type=_variants, default=0, help=variants)
    added.add_argument("--benchmark", action="store_true", help="add the ten benchmark samples to each scene")
    modes, mode = [*MODES, SURFACES, NEURAL], Rendering.mode
    surfaces = f"layered and procedural scenes keep their surfaces whole: exact lens pictures by --mode {SURFACES}"
    added.add_argument("--surfaces", action="store_true", help=surfaces)
    added.add_argument("--mode", choices=modes, default=mode, help="of the renderer (default %(default)s)")
    networks = f"holds the networks of --mode {NEURAL}: arnet.pth and iunet.pth"
    added.add_argument("--bokehme", type=absolute_path, metavar="FOLDER", help=networks)
    blades = "apertures to draw from: 0 round, 3 to 16 polygons"
    added.add_argument("--blades", type=int, nargs="+", default=[0], metavar="N", help=blades)
    added.add_argument("--cat-eye", type=float, default=0.0, help="strongest clipping of apertures in corners, 0 to 1")
    add_shard_arguments(parser)
    parser.add_argument("--scenes-per-shard", type=int, help=f"default: about {IMAGES_PER_SHARD} pictures a shard")
    parser.add_argument("--engine", choices=["local", "ray"], default="local", help="processes here, or a Ray cluster")
    parser.add_argument("--address", help="of the Ray cluster, 'auto' or ray://HOST:PORT; none starts Ray here")
    verify = "read what is made, and make anew what is not as recorded"
    parser.add_argument("--verify", action="store_true", help=verify)
    parser.add_argument("--review", type=Path, metavar="SHEET", help="only write a contact sheet of photos, judged")


def run(args: argparse.Namespace) -> int:
    """Make the shards, or the contact sheet, and return the exit status.

    Raises:
        DiffcamError: If the input or an option does not fit.
    """
    check_ranges(args)
    if args.review:
        return _review(args)
    if not re.fullmatch(r"[A-Za-z0-9_-]+", args.name):
        raise DiffcamError(f"--name {args.name!r}: must be letters, digits, '_' and '-'")
    if args.benchmark and args.variants:
        raise DiffcamError("--benchmark draws its own renditions: leave --variants away")
    try:
        torch.zeros(1, device=args.device)
    except RuntimeError as error:
        raise DiffcamError(f"--device {args.device}: {first_line(error)}") from error
    if output_folder(args).is_file():
        raise DiffcamError(f"--output {args.output}: is a file; name a folder")
    source, rendering = open_source(args), _rendering(args)
    plan = ShardPlan(args.output, args.name, source=source, rendering=rendering, scenes_per_shard=args.scenes_per_shard)
    engine = RayEngine(args.address) if args.engine == "ray" else LocalEngine(args.workers)
    print(plan.make(engine, log=sys.stderr, force=args.force, verify=args.verify).summary())
    return 0


def _rendering(args: argparse.Namespace) -> Rendering:
    """What is added to each scene; networks are loaded once here, so that a damaged file is named before any work."""
    try:
        openings = Openings(tuple(args.blades), args.cat_eye)
    except ValueError as error:
        raise DiffcamError(f"--blades, --cat-eye: {error}") from error
    neural, shaped = args.mode == NEURAL, openings != Openings()
    if neural != (args.bokehme is not None):
        raise DiffcamError(f"--mode {NEURAL} and --bokehme FOLDER, with its arnet.pth and iunet.pth, go together")
    unrendered = args.variants == 0 or args.source == "raytraced"
    for option, given in (("--blades and --cat-eye are", shaped), (f"--mode {NEURAL} is", neural)):
        if given and unrendered:
            raise DiffcamError(f"{option} of rendered --variants: a number of them, not --source raytraced")
    if neural and shaped:
        raise DiffcamError(f"--mode {NEURAL} knows round apertures alone: leave --blades and --cat-eye away")
    if neural:
        load_bokehme(args.bokehme, "cpu")
    return Rendering(
        args.variants,
        benchmark=args.benchmark,
        mode=Rendering.mode if neural else args.mode,
        openings=openings,
        networks=args.bokehme,
        **rendering_options(args),
    )


def _review(args: argparse.Namespace) -> int:
    if args.folder is None:
        raise DiffcamError(f"--review {args.review}: needs a folder of photos")
    check_output(args.review, force=args.force)
    scores = review_photos(args.folder, args.review, args.threshold, report=tell)
    accepted = sum(score >= args.threshold for score in scores)
    print(f"{args.review}: {accepted} of {len(scores)} photos are in focus everywhere (threshold {args.threshold:g})")
    if len(scores) > REVIEW_PHOTOS:
        print(f"the sheet shows the {REVIEW_PHOTOS} nearest to the threshold")
    return 0


def _variants(text: str) -> int | Literal["grid"]:
    if text == "grid":
        return "grid"
    if not text.isdecimal() or int(text) > 420:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 420 or 'grid'")
    return int(text)
