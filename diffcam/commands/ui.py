"""``diffcam ui``: serve the click-to-refocus page until it is interrupted."""

from __future__ import annotations

import argparse
import webbrowser

from diffcam.commands.pipeline_options import add_pipeline_arguments, load_pipeline
from diffcam.errors import DiffcamError
from diffcam.ui.desk import PhotoDesk
from diffcam.ui.server import PageServer


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line of ``diffcam ui``."""
    parser.add_argument("--host", default="127.0.0.1", help="address to serve at (default: this computer only)")
    parser.add_argument("--port", type=int, default=8760, help="0 takes any free port (default: 8760)")
    add_pipeline_arguments(parser)
    parser.add_argument("--max-upload", type=int, default=200, metavar="MB", help="largest file taken (default: 200)")
    parser.add_argument("--open", action="store_true", help="open the page in the browser")


def run(args: argparse.Namespace) -> int:
    """Load the model, serve, and return the exit status when interrupted.

    Raises:
        DiffcamError: If the model or the address does not fit.
    """
    if args.max_upload < 1:
        raise DiffcamError(f"--max-upload {args.max_upload}: must be at least 1 MB")
    with PageServer((args.host, args.port), PhotoDesk(load_pipeline(args)), args.max_upload * 1_000_000) as server:
        print(f"diffcam is at {server.url} (Ctrl+C ends it)", flush=True)
        if args.open:
            webbrowser.open(server.url)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            print("ended")
    return 0
