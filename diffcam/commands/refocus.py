"""``diffcam refocus``: one photo in, the refocused photo out."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from diffcam.camera import Camera, ThinLens, focus_fractions
from diffcam.commands.pipeline_options import add_pipeline_arguments, load_pipeline
from diffcam.errors import DiffcamError
from diffcam.functional.flow import MAX_STEPS
from diffcam.photo import WRITABLE_SUFFIXES, Photo, check_output, lens_from_exif, open_photo, save_photo
from diffcam.photo.disparity import read_disparity


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line of ``diffcam refocus``."""
    parser.add_argument("photo", type=Path, metavar="PHOTO", help="any JPEG, PNG, TIFF or WebP file")
    focus = "what to focus on: fractions of width and height from the top left, or pixels when both exceed 1"
    parser.add_argument("--focus", required=True, metavar="X,Y", help=focus)
    parser.add_argument("--bokeh", required=True, type=float, metavar="B", help="how much to blur: 0 (nothing) to 64")
    parser.add_argument(
        "--depth",
        metavar="MAP",
        help="disparity map of the photo (PNG, TIFF, PFM, EXR or NPY, near is bright), or 'none' (default: estimated "
        "where --depth-model is given, otherwise none); taken as given, 0 farthest and 1, or an integer's largest, "
        "nearest; floats beyond 0 to 1 are scaled to it by their least and greatest value",
    )
    parser.add_argument(
        "--taken-with",
        metavar="X,Y,B",
        help="the camera that took the photo, whose blur is undone first: where it focused, and its level; or 'exif', "
        "the lens that the photo's EXIF tells, or 'exif,METRES' where it does not say how far the focus was (each "
        "needs a map)",
    )
    depths = "metres of the map's disparity 1 and 0, which a lens from EXIF needs; FAR may be inf"
    parser.add_argument("--depth-range", metavar="NEAR,FAR", help=depths)
    parser.add_argument("--inverse", action="store_true", help="the map holds depth: large is far; it is scaled too")
    parser.add_argument("--fill-holes", action="store_true", help="fill pixels without a value from the farther side")
    parser.add_argument("--output", type=Path, metavar="FILE", help="default: PHOTO-refocused beside the photo")
    add_pipeline_arguments(parser)
    parser.add_argument("--steps", type=int, help="sampling steps (default: as many as the model is meant for)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed gives the same picture (default: 0)")
    parser.add_argument("--force", action="store_true", help="replace the output file if it exists")


def run(args: argparse.Namespace) -> int:
    """Refocus the photo and say where the result is.

    Raises:
        DiffcamError: If the photo, the focus point, the map, the model or the output does not fit.
        ValueError: If a number is out of range.
    """
    if args.steps is not None and not 1 <= args.steps <= MAX_STEPS:
        raise DiffcamError(f"--steps {args.steps}: must lie in 1 to {MAX_STEPS}")
    if not 0 <= args.seed < 2**63:
        raise DiffcamError(f"--seed {args.seed}: must lie in 0 to 2^63 - 1")
    photo = open_photo(args.photo)
    width, height = photo.size
    x, y = _numbers("--focus ", args.focus, 2, "two numbers with a comma between, as 0.4,0.6")
    camera = Camera(focus_fractions((x, y), height, width), args.bokeh)
    taken_with, depth_range = _taken_with(args, photo)
    suffix = args.photo.suffix if args.photo.suffix.lower() in WRITABLE_SUFFIXES else ".png"
    beside = args.photo.with_name(f"{args.photo.stem}-refocused{suffix}")
    output = check_output(args.output or beside, photo, args.force)
    if output.exists() and output.samefile(args.photo):
        raise DiffcamError(f"--output {output}: is the photo itself, which is left alone; name another file")
    depth = args.depth
    if depth not in (None, "none"):
        depth = read_disparity(depth, inverse=args.inverse, fill=args.fill_holes)
    for note in photo.notes:
        print(f"note: {note}", file=sys.stderr)

    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(f"refocusing {photo.name}", total=None)
        pipeline = load_pipeline(args)  # after everything that can be refused is checked
        steps = pipeline.settings.steps if args.steps is None else args.steps
        progress.update(task, total=steps + 1)
        session = pipeline.open(photo, depth, taken_with=taken_with, depth_range=depth_range)
        progress.advance(task)
        picture = session.refocus(camera, steps, args.seed, lambda step, latents: progress.advance(task))
    save_photo(picture, output, photo, json.loads(picture.info["diffcam"]), args.force)
    print(output)
    return 0


def _taken_with(args: argparse.Namespace, photo: Photo) -> tuple[Camera | ThinLens | None, tuple[float, float] | None]:
    """What took the photo, and the metres of disparity 1 and 0 if it is a lens."""
    told, depths = args.taken_with, args.depth_range
    if told is None or not told.startswith("exif"):
        if depths is not None:
            raise DiffcamError(f"--depth-range {depths}: is for a lens alone, --taken-with exif")
        if told is None:
            return None, None
        x, y, level = _numbers("--taken-with ", told, 3, "three numbers with commas between, as 0.4,0.6,8, or exif")
        width, height = photo.size
        return Camera(focus_fractions((x, y), height, width), level), None
    if depths is None:
        raise DiffcamError(f"--taken-with {told}: needs --depth-range NEAR,FAR, the metres of disparity 1 and 0")
    if args.depth == "none":
        raise DiffcamError(f"--taken-with {told}: needs a map, which says what was out of focus; give it as --depth")
    near, far = _numbers("--depth-range ", depths, 2, "two depths in metres, near and far, as 0.5,inf")
    if not 0 < near < far:
        raise DiffcamError(f"--depth-range {depths}: must be the nearer and the farther depth in metres, as 0.5,inf")
    word, *metres = told.split(",", 1)
    if word != "exif":
        raise DiffcamError(f"--taken-with {told}: must be exif, or exif,METRES as exif,1.5")
    distance = _numbers("--taken-with exif,", metres[0], 1, "exif,METRES as exif,1.5")[0] if metres else None
    return lens_from_exif(photo, distance), (near, far)


def _numbers(option: str, told: str, count: int, form: str) -> list[float]:
    """Numbers with commas between."""
    try:
        numbers = [float(part) for part in told.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) != count:
        raise DiffcamError(f"{option}{told}: must be {form}")
    return numbers
