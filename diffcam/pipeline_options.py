"""The options by which commands name a pipeline: ``--model``, ``--adapter`` and ``--depth-model``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffcam.pipeline import RefocusPipeline


def add_pipeline_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare them."""
    parser.add_argument(
        "--model",
        help="packaged name, model folder, or base of the adapter (default: diffcam-tiny, or the base that the "
        "adapter was trained on)",
    )
    parser.add_argument("--adapter", type=Path, metavar="FOLDER", help="adapter for a FLUX base")
    parser.add_argument(
        "--depth-model",
        metavar="NAME",
        help="estimates the disparity of photos without a map: a Depth Anything V2 name or folder (default: they are "
        "solved without depth)",
    )


def load_pipeline(args: argparse.Namespace) -> RefocusPipeline:
    """The pipeline that a command line names.

    Raises:
        DiffcamError: If something is missing or does not fit.
    """
    from diffcam.models.depth import DepthAnything
    from diffcam.pipeline import RefocusPipeline

    estimator = DepthAnything(args.depth_model) if args.depth_model is not None else None
    return RefocusPipeline.from_pretrained(args.model, args.adapter, depth_estimator=estimator)
