"""Options that ``diffcam simulate`` and ``diffcam benchmark build`` share: of scenes and of their shards."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from diffcam.errors import DiffcamError
from diffcam.simulation.jobs.writer import Rendering
from diffcam.simulation.sources import MADE_SCENES, Source, SourceOptions

RANGES: Mapping[str, tuple[float, float]] = {
    "scenes": (1, 999_999),
    "scenes_per_shard": (1, 999_999),
    "workers": (1, 1024),
    "quality": (0, 100),
    "gamma": (1, 5),
    "threshold": (0, 100),
}
"""Least and greatest value of each option that is a number."""


def add_shard_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say how shards are written."""
    parser.add_argument("--output", type=absolute_path, metavar="FOLDER", help="where shards and manifests go")
    parser.add_argument("--name", default="scenes", help="what shards and manifest are called (default %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed and photos give the same bytes")
    gamma = "gamma of the renderer (default %(default)s)"
    parser.add_argument("--gamma", type=float, default=Rendering.gamma, help=gamma)
    parser.add_argument("--quality", type=int, default=95, help="JPEG quality 1 to 100, or 0 for PNG")
    parser.add_argument("--device", default="cpu", help="where renditions are rendered and disparity is estimated")
    parser.add_argument("--attribution", default="", help="licence and authors, kept in every scene")
    workers = os.cpu_count() or 1
    parser.add_argument("--workers", type=int, default=workers, help="processes (default %(default)s)")
    parser.add_argument("--force", action="store_true", help="replace a run with other settings in the same place")


def add_scene_arguments(parser: argparse.ArgumentParser, *, made: int = MADE_SCENES, maps: str = "maps") -> None:
    """Declare the options of photos with disparity and of made scenes; ``made`` and ``maps`` go into their help."""
    parser.add_argument("--scenes", type=int, help=f"how many; default: all photos, or {made} made scenes")
    photos = parser.add_argument_group("photos with disparity")
    maps += " with the photos' names: PNG, TIFF, PFM, EXR, NPY"
    photos.add_argument("--disparity", type=absolute_path, metavar="FOLDER", help=maps)
    photos.add_argument("--depth-model", metavar="NAME", help="estimate disparity: a Depth Anything V2 name or folder")
    photos.add_argument("--inverse", action="store_true", help="the maps hold depth: large is far")
    photos.add_argument("--fill-holes", action="store_true", help="fill pixels without a value from the farther side")
    sharpness = "least sharpness everywhere (default %(default)s; 0 takes every photo)"
    photos.add_argument("--threshold", type=float, default=SourceOptions.threshold, help=sharpness)
    traced = parser.add_argument_group("ray-traced scenes, whose renditions are true lens pictures")
    traced.add_argument("--samples", type=int, default=SourceOptions.samples, help="rays a pixel (default %(default)s)")


def absolute_path(text: str) -> Path:
    """A path that workers with another working directory understand too."""
    return Path(text).resolve()


def scene_size(text: str) -> tuple[int, int]:
    """Height and width from ``HEIGHTxWIDTH`` or one number.

    Raises:
        ArgumentTypeError: If it is neither, or a side is outside 64 to 8192.
    """
    if not (match := re.fullmatch(r"(\d+)(?:x(\d+))?", text)):
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH or one number")
    height, width = int(match[1]), int(match[2] or match[1])
    if not (64 <= height <= 8192 and 64 <= width <= 8192):
        raise argparse.ArgumentTypeError(f"{text!r}: each side must lie in 64 to 8192")
    return height, width


def output_folder(args: argparse.Namespace) -> Path:
    """Where shards go; a DiffcamError if the command line does not say."""
    if args.output is None:
        raise DiffcamError("--output FOLDER: say where the shards are to go")
    return Path(args.output)


def check_ranges(args: argparse.Namespace, ranges: Mapping[str, tuple[float, float]] = RANGES) -> None:
    """Refuse numbers that make no sense with a DiffcamError that names the option and its range."""
    for option, (least, most) in ranges.items():
        value = getattr(args, option, None)
        if value is not None and not least <= value <= most:
            raise DiffcamError(f"--{option.replace('_', '-')} {value}: must lie in {least} to {most}")


def rendering_options(args: argparse.Namespace) -> dict[str, Any]:
    """Settings of a :class:`Rendering` that options of shards say; ``--quality`` 0 is PNG."""
    stored = {"image_format": "jpg", "quality": args.quality} if args.quality else {"image_format": "png"}
    return stored | {name: getattr(args, name) for name in ("seed", "gamma", "device", "attribution")}


def open_source(args: argparse.Namespace, **others: Any) -> Source:
    """The source that the command line names; what is left out is told on stderr.

    Args:
        args: Options that are called as fields of :class:`SourceOptions` are taken.
        **others: Fields in place of options.
    """
    declared = {field.name: getattr(args, field.name) for field in fields(SourceOptions) if field.name in args}
    return SourceOptions(**{**declared, **others}).open(tell)


def tell(line: str) -> None:
    """Print a line for the user beside the output."""
    print(line, file=sys.stderr)
