"""The sources that ``diffcam simulate --source`` names, each made from the command line."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from pathlib import Path

from diffcam.errors import DiffcamError
from diffcam.simulation.draws import Draws
from diffcam.simulation.photographed.all_in_focus import DEFAULT_THRESHOLD
from diffcam.simulation.photographed.development import Development
from diffcam.simulation.photographed.disparity_providers import DisparityFolder, DisparityProvider, EstimatedDisparity
from diffcam.simulation.photographed.generated import GeneratedSource, read_prompts
from diffcam.simulation.photographed.phone import BurstSource, merged_results
from diffcam.simulation.raytraced.raytracer import choose_variant
from diffcam.simulation.raytraced.source import RaytracedSource
from diffcam.simulation.sources import LayeredSource, PhotoFolder, PhotoSource, Source, check_photos
from diffcam.simulation.textures.photos import list_photos
from diffcam.simulation.textures.procedural import ProceduralTextures

LAYERED_SCENES = 256
"""Scenes that a source without an end gives by default."""

TEXTURE_PHOTOS = 400
"""Layered scenes hold their photos in memory: of larger folders this many are drawn."""


def add_source_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options that say what scenes are made of."""
    parser.add_argument(
        "folder", type=Path, nargs="?", help="folder of photos (--source procedural and raytraced do without)"
    )
    parser.add_argument("--source", choices=sorted(SOURCES), default="layered", help="what scenes are made of")
    parser.add_argument("--scenes", type=int, help=f"how many; default: {LAYERED_SCENES} made ones, or all photos")
    parser.add_argument(
        "--size",
        type=_size,
        default=(512, 512),
        help="HEIGHTxWIDTH of made scenes, or one number; photos are shrunk to its short side (default 512)",
    )
    photos = parser.add_argument_group("photos with disparity (--source camera, phone, ai, hdrplus or flux)")
    photos.add_argument(
        "--disparity", type=Path, help="folder of maps with the photos' names: PNG, TIFF, PFM, EXR, NPY"
    )
    photos.add_argument("--depth-model", metavar="NAME", help="estimate disparity: a Depth Anything V2 name or folder")
    photos.add_argument("--inverse", action="store_true", help="the maps hold depth: large is far")
    photos.add_argument("--fill-holes", action="store_true", help="fill pixels without a value from the farther side")
    photos.add_argument(
        "--threshold",
        type=float,
        default=DEFAULT_THRESHOLD,
        help="least sharpness everywhere (default %(default)s; 0 takes every photo)",
    )
    traced = parser.add_argument_group("ray-traced scenes (--source raytraced); --variants are true lens pictures")
    traced.add_argument("--samples", type=int, default=64, help="rays a pixel (default %(default)s)")
    generated = parser.add_argument_group("pictures of prompts (--source flux)")
    generated.add_argument("--prompts", type=Path, metavar="FILE", help="one prompt a line")
    generated.add_argument("--generator", default="black-forest-labs/FLUX.1-dev", help="FLUX name or folder")
    generated.add_argument("--generator-lora", metavar="FILE", help="safetensors LoRA against blurred backgrounds")


def photos_of(args: argparse.Namespace) -> list[Path]:
    """The photos of the folder that the command line names.

    Raises:
        DiffcamError: If there is none.
    """
    if args.folder is None:
        raise DiffcamError(f"--source {args.source} needs a folder of photos")
    return list_photos(args.folder)


def _photo_textures(args: argparse.Namespace) -> PhotoFolder:
    """The folder's photos as surfaces; those that cannot be used are named."""
    paths, damaged = check_photos(photos_of(args))
    for reason in damaged:
        print(f"left out: {reason}", file=sys.stderr)
    if not paths:
        raise DiffcamError(f"{args.folder}: none of its photos can be used; the lines above say why")
    if len(paths) > TEXTURE_PHOTOS:
        print(f"{args.folder}: {TEXTURE_PHOTOS} of {len(paths)} photos are drawn by the seed", file=sys.stderr)
        order = Draws("photos", args.seed).uniforms((len(paths),)).argsort()
        paths = tuple(sorted(paths[number] for number in order[:TEXTURE_PHOTOS]))
    return PhotoFolder(args.folder, paths, 2 * min(args.size))


def _layered(args: argparse.Namespace) -> Source:
    return LayeredSource(_photo_textures(args), args.scenes or LAYERED_SCENES, args.size, args.seed)


def _procedural(args: argparse.Namespace) -> Source:
    return LayeredSource(ProceduralTextures(), args.scenes or LAYERED_SCENES, args.size, args.seed, kind="ai")


def _raytraced(args: argparse.Namespace) -> Source:
    if args.samples < 1:
        raise DiffcamError(f"--samples {args.samples}: at least one ray a pixel is needed")
    tracer = choose_variant()
    faster = "" if tracer == "llvm_ad_rgb" else " (llvm_ad_rgb is faster: name an LLVM library in DRJIT_LIBLLVM_PATH)"
    print(f"ray tracing with Mitsuba's {tracer}{faster}", file=sys.stderr)
    textures = ProceduralTextures() if args.folder is None else _photo_textures(args)
    count = args.scenes or LAYERED_SCENES
    return RaytracedSource(textures, count, tracer, args.size, args.seed, args.variants, args.samples)


def _photo_source(name: str, kind: str) -> Callable[[argparse.Namespace], Source]:
    def build(args: argparse.Namespace) -> Source:
        paths = tuple(photos_of(args)[: args.scenes])
        return PhotoSource(args.folder, paths, _development(args, name, kind))

    return build


def _bursts(args: argparse.Namespace) -> Source:
    if args.folder is None:
        raise DiffcamError("--source hdrplus needs the folder that holds bursts and results_DATE")
    paths = merged_results(args.folder)[: args.scenes]
    return BurstSource(args.folder, paths, _development(args, "phone", "photo"))


def _generated(args: argparse.Namespace) -> Source:
    from diffcam.pretrained.text_to_image import FluxPhotographer

    if args.prompts is None:
        raise DiffcamError("--source flux needs --prompts FILE, one prompt a line")
    if any(side % 16 for side in args.size):
        raise DiffcamError(f"--size {args.size[0]}x{args.size[1]}: --source flux makes multiples of 16")
    prompts = read_prompts(args.prompts)
    photographer = FluxPhotographer(args.generator, args.generator_lora, device=args.device)
    development = _development(args, "ai", "ai")
    return GeneratedSource(prompts, args.scenes or len(prompts), photographer, development, args.size, args.seed)


def _development(args: argparse.Namespace, source: str, kind: str) -> Development:
    """The disparity that the command line names, and the settings that go with it."""
    from diffcam.pretrained.depth import DepthAnything

    disparity: DisparityProvider
    if args.depth_model is not None and args.disparity is None:
        disparity = EstimatedDisparity(DepthAnything(args.depth_model, args.device))
    elif args.disparity is not None and args.depth_model is None and args.folder is not None:
        if not args.disparity.is_dir():
            raise DiffcamError(f"--disparity {args.disparity}: no such folder")
        disparity = DisparityFolder(args.folder, args.disparity, args.inverse, args.fill_holes)
    else:
        raise DiffcamError(f"--source {args.source} needs disparity: --disparity FOLDER of maps, or --depth-model NAME")
    return Development(disparity, min(args.size), args.threshold, source, kind)


SOURCES: dict[str, Callable[[argparse.Namespace], Source]] = {
    "layered": _layered,
    "procedural": _procedural,
    "raytraced": _raytraced,
    "camera": _photo_source("camera", "photo"),
    "phone": _photo_source("phone", "photo"),
    "ai": _photo_source("ai", "ai"),
    "hdrplus": _bursts,
    "flux": _generated,
}
"""What ``--source`` names: a function from the command line to a source."""


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)(?:x(\d+))?", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is not HEIGHTxWIDTH or one number")
    height, width = int(match[1]), int(match[2] or match[1])
    if not (64 <= height <= 8192 and 64 <= width <= 8192):
        raise argparse.ArgumentTypeError(f"{text!r}: each side must lie in 64 to 8192")
    return height, width
