"""``diffcam simulate``: scenes from a folder of photos, as shards with a manifest."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from diffcam.commands.source_options import SOURCES, add_source_arguments, photos_of
from diffcam.errors import DiffcamError, first_line
from diffcam.functional.bokeh import PAPER_GAMMA
from diffcam.kernels import MODES
from diffcam.photo import check_output, open_photo
from diffcam.simulation.jobs.engines import Engine, LocalEngine, RayEngine
from diffcam.simulation.jobs.manifest import Manifest
from diffcam.simulation.jobs.progress import Progress
from diffcam.simulation.jobs.writer import Rendering, ShardJob, make_shard
from diffcam.simulation.neural import NeuralRenderer
from diffcam.simulation.photographed.all_in_focus import REVIEW_PHOTOS, AllInFocus, Sharpness, write_review
from diffcam.simulation.textures.photos import load_reduced
from diffcam.simulation.variants import Openings

IMAGES_PER_SHARD = 256
"""By default shards are cut so that each holds about this many pictures."""

NEURAL = "bokehme"
"""Mode of ``--mode`` that is BokehMe's networks."""

ENGINES: dict[str, Callable[[argparse.Namespace], Engine]] = {
    "local": lambda args: LocalEngine(args.workers),
    "ray": lambda args: RayEngine(args.address),
}
"""What ``--engine`` names."""

_RANGES = {
    "scenes": (1, 999_999),
    "scenes_per_shard": (1, 999_999),
    "workers": (1, 1024),
    "quality": (0, 100),
    "gamma": (1, 5),
    "threshold": (0, 100),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line of ``diffcam simulate``."""
    parser.add_argument("--output", type=Path, help="folder for the shards and the manifest")
    parser.add_argument("--name", default="scenes", help="shards are called NAME-000000.tar, the manifest NAME.json")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same bytes")
    parser.add_argument(
        "--variants",
        type=_variants,
        default=0,
        help="renditions a scene: a number, or 'grid' for all 420 (default 0: rendered while training)",
    )
    parser.add_argument("--benchmark", action="store_true", help="add the ten benchmark samples to each scene")
    parser.add_argument("--gamma", type=float, default=PAPER_GAMMA, help="gamma of the renderer")
    parser.add_argument(
        "--mode", choices=[*MODES, NEURAL], default="classical", help="of the renderer (default %(default)s)"
    )
    parser.add_argument(
        "--bokehme", type=Path, metavar="FOLDER", help=f"holds the networks of --mode {NEURAL}: arnet.pth and iunet.pth"
    )
    parser.add_argument(
        "--blades",
        type=int,
        nargs="+",
        default=[0],
        metavar="N",
        help="apertures to draw from: 0 round, 3 to 16 polygons",
    )
    parser.add_argument(
        "--cat-eye", type=float, default=0.0, help="strongest clipping of the aperture in corners, 0 to 1"
    )
    parser.add_argument("--quality", type=int, default=95, help="JPEG quality 1 to 100, or 0 for PNG")
    parser.add_argument("--device", default="cpu", help="where variants are rendered")
    parser.add_argument("--attribution", default="", help="licence and authors, kept in every scene")
    parser.add_argument("--scenes-per-shard", type=int, help=f"default: about {IMAGES_PER_SHARD} pictures a shard")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a core)")
    parser.add_argument("--engine", choices=sorted(ENGINES), default="local", help="local processes, or a Ray cluster")
    parser.add_argument("--address", help="of the Ray cluster, 'auto' or ray://HOST:PORT; none starts Ray here")
    parser.add_argument("--force", action="store_true", help="replace a run with other settings in the same place")
    parser.add_argument(
        "--verify", action="store_true", help="read what an earlier run has made, and make anew what is not as recorded"
    )
    parser.add_argument(
        "--review", type=Path, metavar="SHEET", help="write a contact sheet of accepted and rejected photos, and stop"
    )
    add_source_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Make the shards, or the contact sheet, and return the exit status.

    Raises:
        DiffcamError: If the input or an option does not fit.
    """
    _check_ranges(args)
    if args.review:
        return _review(args)
    _check(args)
    for name in ("folder", "output", "disparity", "bokehme"):  # workers may have another working directory
        if getattr(args, name) is not None:
            setattr(args, name, getattr(args, name).resolve())
    source = SOURCES[args.source](args)
    rendering = _rendering(args)
    per_shard = args.scenes_per_shard or max(1, IMAGES_PER_SHARD // rendering.images_per_scene)
    settings = {"source": source.describe(), "rendering": rendering.describe(), "scenes_per_shard": per_shard}
    try:
        args.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DiffcamError(f"--output {args.output}: cannot be made ({error.strerror}); choose another") from error
    manifest = Manifest.open(args.output / f"{args.name}.json", settings, args.force, args.verify)
    jobs = [
        ShardJob(
            args.output / f"{args.name}-{number:06d}.tar", source, rendering, start, min(start + per_shard, len(source))
        )
        for number, start in enumerate(range(0, len(source), per_shard))
    ]
    return make_shards(manifest, jobs, ENGINES[args.engine](args))


def _rendering(args: argparse.Namespace) -> Rendering:
    try:
        openings = Openings(tuple(args.blades), args.cat_eye)
    except ValueError as error:
        raise DiffcamError(f"--blades, --cat-eye: {error}") from error
    if openings != Openings() and (args.variants == 0 or args.source == "raytraced"):
        raise DiffcamError(
            "--blades and --cat-eye are of rendered --variants: a number of them, not --source raytraced"
        )
    network = _network(args)
    if network is not None and openings != Openings():
        raise DiffcamError(f"--mode {NEURAL} knows round apertures alone: leave --blades and --cat-eye away")
    return Rendering(
        args.variants,
        args.benchmark,
        args.seed,
        args.gamma,
        args.quality,
        args.device,
        args.attribution,
        "classical" if network is not None else args.mode,
        openings,
        network,
    )


def _network(args: argparse.Namespace) -> NeuralRenderer | None:
    """The networks of ``--mode bokehme``, looked at before any work; None for the other modes."""
    if (args.mode == NEURAL) != (args.bokehme is not None):
        raise DiffcamError(f"--mode {NEURAL} and --bokehme FOLDER, with its arnet.pth and iunet.pth, go together")
    if args.bokehme is None:
        return None
    if args.variants == 0 or args.source == "raytraced":
        raise DiffcamError(f"--mode {NEURAL} is of rendered --variants: a number of them, not --source raytraced")
    network = NeuralRenderer(args.bokehme)
    network.load()
    return network


def make_shards(manifest: Manifest, jobs: Sequence[ShardJob], engine: Engine) -> int:
    """Run the jobs that the manifest does not hold yet, and return the exit status.

    Raises:
        DiffcamError: If no scene could be made.
    """
    waiting = [job for job in jobs if not manifest.has(job.start, job.stop)]
    total = sum(job.stop - job.start for job in jobs)
    progress = Progress(total, total - sum(job.stop - job.start for job in waiting), sys.stderr)
    if len(waiting) < len(jobs):
        print(f"continuing: {len(jobs) - len(waiting)} of {len(jobs)} shards are made already", file=sys.stderr)
    for record in engine.run(make_shard, waiting):
        for reason in record.skipped:
            print(f"skipped: {reason}", file=sys.stderr)
        manifest.add(record)
        progress.add(record.scenes, len(record.skipped))
    progress.close()
    manifest.write()
    records = manifest.records.values()
    scenes, images, size = (sum(getattr(record, name) for record in records) for name in ("scenes", "images", "bytes"))
    print(f"{manifest.path}: {scenes} scenes, {images} pictures, {size / 1e6:.1f} MB in {len(jobs)} shards")
    if scenes == 0:
        raise DiffcamError(f"{manifest.path}: no scene could be made; the lines above say why")
    return 0


def _check_ranges(args: argparse.Namespace) -> None:
    for option, (least, most) in _RANGES.items():
        value = getattr(args, option)
        if value is not None and not least <= value <= most:
            raise DiffcamError(f"--{option.replace('_', '-')} {value}: must lie in {least} to {most}")


def _check(args: argparse.Namespace) -> None:
    """Refuse options that make no sense, before any work.

    Raises:
        DiffcamError: Naming the option.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]+", args.name):
        raise DiffcamError(f"--name {args.name!r}: must be letters, digits, '_' and '-'")
    if args.benchmark and args.variants:
        raise DiffcamError("--benchmark draws its own renditions: leave --variants away")
    if args.output is None:
        raise DiffcamError("--output FOLDER: say where the shards are to go")
    try:
        torch.zeros(1, device=args.device)
    except RuntimeError as error:
        raise DiffcamError(f"--device {args.device}: {first_line(error)}") from error
    if args.output.exists() and not args.output.is_dir():
        raise DiffcamError(f"--output {args.output}: is a file; name a folder")


def _review(args: argparse.Namespace) -> int:
    """Measure every photo of the folder and write the contact sheet of those nearest to the threshold."""
    check_output(args.review, force=args.force)
    measured: list[tuple[Path, Sharpness]] = []
    accepts = AllInFocus(args.threshold)
    for path in photos_of(args):
        try:
            photo = open_photo(path, path.relative_to(args.folder).as_posix())
        except DiffcamError as error:
            print(f"left out: {error}", file=sys.stderr)
            continue
        measured.append((path, accepts.measure(photo.tensor())))
    shown = sorted(measured, key=lambda item: abs(item[1].score - args.threshold))[:REVIEW_PHOTOS]
    write_review(args.review, [(path.name, load_reduced(path, 240), sharp) for path, sharp in shown], args.threshold)
    accepted = sum(sharpness.score >= args.threshold for _, sharpness in measured)
    print(f"{args.review}: {accepted} of {len(measured)} photos are in focus everywhere (threshold {args.threshold:g})")
    if len(shown) < len(measured):
        print(f"the sheet shows the {len(shown)} nearest to the threshold")
    return 0


def _variants(text: str) -> int:
    if text == "grid":
        return -1
    if not text.isdecimal() or int(text) > 420:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 0 to 420 or 'grid'")
    return int(text)
