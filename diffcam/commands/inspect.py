"""``diffcam inspect SHARD``: what a shard holds, as statistics and a contact sheet."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from diffcam.errors import DiffcamError
from diffcam.simulation.inspection import inspect_shard


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line of ``diffcam inspect``."""
    parser.add_argument("shard", type=Path, help="a shard (.tar)")
    parser.add_argument("--sheet", type=Path, help="contact sheet to write (default: SHARD's name with .jpg, here)")
    parser.add_argument("--no-sheet", action="store_true", help="statistics only")
    parser.add_argument("--force", action="store_true", help="overwrite the contact sheet")


def run(args: argparse.Namespace) -> int:
    """Print statistics, write the contact sheet, and return 1 where the shard is damaged, otherwise 0.

    Raises:
        DiffcamError: If there is no such shard, or the sheet exists.
    """
    sheet = args.sheet or Path(args.shard.with_suffix(".jpg").name)
    if not args.no_sheet and sheet.exists() and not args.force:
        raise DiffcamError(f"{sheet}: exists already; choose another --sheet, or --force")
    found = inspect_shard(args.shard)
    print("\n".join(found.statistics))
    for line in [*(f"damaged: {one}" for one in found.damage), *(f"foreign: {one}" for one in found.foreign)]:
        print(line, file=sys.stderr)
    if found.rows and not args.no_sheet:
        found.sheet().save(sheet)
        print(f"contact sheet: {sheet} (image, disparity, renditions; {len(found.rows)} scenes)")
    return 1 if found.damage else 0
