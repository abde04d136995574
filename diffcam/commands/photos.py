"""``diffcam photos``: a folder of photos shrunk to a few megabytes, to be carried to the machine that trains."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from diffcam.simulation.textures.packing import pack_photos


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line of ``diffcam photos``."""
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="photos, in subfolders too")
    parser.add_argument("output", type=Path, metavar="NEW_FOLDER", help="where the small copies go; made here")
    parser.add_argument("--megabytes", type=float, default=8.0, help="limit of all files together (default: 8)")


def run(args: argparse.Namespace) -> int:
    """Pack, and say what came out."""
    side = pack_photos(args.folder, args.output, args.megabytes, log=sys.stderr)
    sizes = [path.stat().st_size for path in args.output.iterdir()]
    print(f"{args.output}: {len(sizes)} photos, short side up to {side} pixels, {sum(sizes) / 1e6:.1f} MB")
    return 0
