"""``diffcam state pack | unpack``: a run's whole state in a small folder, to be carried to another machine."""

from __future__ import annotations

import argparse
from pathlib import Path

from diffcam.tasks.portable import pack, unpack


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line of ``diffcam state``."""
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, source, target in (("pack", "checkpoint", "folder"), ("unpack", "folder", "checkpoint")):
        action = actions.add_parser(name, help=f"from a {source} to a {target}")
        action.add_argument(source, type=Path)
        action.add_argument(target, type=Path)


def run(args: argparse.Namespace) -> int:
    """Pack or unpack."""
    if args.action == "unpack":
        unpack(args.folder, args.checkpoint)
        print(f"written: {args.checkpoint}")
        return 0
    for part in pack(args.checkpoint, args.folder):
        print(f"{part}: {part.stat().st_size / 1e6:.1f} MB")
    return 0
