"""A folder of photos shrunk to a few megabytes, to be carried to the machine that trains: ``diffcam photos``."""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from diffcam.errors import DiffcamError
from diffcam.simulation.jobs.progress import Progress
from diffcam.simulation.textures.photos import MIN_SHORT_SIDE, list_photos, load_reduced, reduced

SHORT_SIDES = (1024, 768, 640, 512, 448, 384, 320, 256, 192, 128, MIN_SHORT_SIDE)
"""Pixels, tried from the largest on."""

QUALITY = 85
"""Of the JPEG files: below it, blocks show in textures."""


def pack_photos(folder: Path, output: Path, megabytes: float) -> int:
    """Write every photo of a folder as ``000000.jpg``, ``000001.jpg``, ..., all at the largest short side that fits.

    Smaller photos keep their size. Nothing of their EXIF data comes along.

    Args:
        folder: Searched with its subfolders.
        output: New folder.
        megabytes: Limit of all files together, in 10^6 bytes.

    Returns:
        The short side in pixels.

    Raises:
        DiffcamError: If there is no photo, one is damaged, the output is there already, or nothing fits.
    """
    if output.exists():
        raise DiffcamError(f"{output}: is there already; give a new folder")
    paths, photos = list_photos(folder), []
    progress = Progress(len(paths), 0, sys.stderr, unit="photos")
    for path in paths:
        photos.append(load_reduced(path, SHORT_SIDES[0]))
        progress.add(1, 0)
    progress.close()
    for side in SHORT_SIDES:
        files = _encoded(photos, side, megabytes * 1e6)
        if files is not None:
            output.mkdir(parents=True)
            for number, content in enumerate(files):
                (output / f"{number:06d}.jpg").write_bytes(content)
            return side
    raise DiffcamError(f"{len(photos)} photos do not fit into {megabytes:g} MB: take fewer, or raise --megabytes")


def _encoded(photos: Iterable[Image.Image], side: int, limit: float) -> list[bytes] | None:
    """JPEG files, or None as soon as they exceed the limit."""
    files: list[bytes] = []
    left = limit
    for photo in photos:
        buffer = io.BytesIO()
        reduced(photo, side).save(buffer, "JPEG", quality=QUALITY, optimize=True)
        files.append(buffer.getvalue())
        left -= len(files[-1])
        if left < 0:
            return None
    return files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line of ``diffcam photos``."""
    parser.add_argument("folder", type=Path, help="photos, in subfolders too")
    parser.add_argument("output", type=Path, help="new folder")
    parser.add_argument("--megabytes", type=float, default=8.0, help="limit of all files together (default: 8)")


def run(args: argparse.Namespace) -> int:
    """Pack, and say what came out."""
    side = pack_photos(args.folder, args.output, args.megabytes)
    sizes = [path.stat().st_size for path in args.output.iterdir()]
    print(f"{args.output}: {len(sizes)} photos, short side up to {side} pixels, {sum(sizes) / 1e6:.1f} MB")
    return 0
