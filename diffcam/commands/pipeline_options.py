"""The options by which commands name a pipeline and where it runs: ``--model``, ``--device`` and the like."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from diffcam.errors import DiffcamError

if TYPE_CHECKING:
    from diffcam.pipeline import RefocusPipeline


def add_pipeline_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare them."""
    model = "packaged name, model folder, or base of the adapter (default: diffcam-tiny, or the adapter's own base)"
    parser.add_argument("--model", help=model)
    parser.add_argument("--adapter", metavar="FOLDER", help="adapter for a FLUX base: a folder or a name on the hub")
    parser.add_argument("--device", help="where the model runs (default: cuda where there is one, else cpu)")
    offload = "keep codec and transformer in main memory and move each to the GPU only while it works"
    parser.add_argument("--offload", action="store_true", help=offload)
    bits = "hold a FLUX base in fewer bits; 4bit needs a GPU"
    parser.add_argument("--quantization", choices=("8bit", "4bit"), help=bits)
    depth = "estimates the disparity of photos without a map: a Depth Anything V2 name or folder (default: no depth)"
    parser.add_argument("--depth-model", metavar="NAME", help=depth)


def load_pipeline(args: argparse.Namespace) -> RefocusPipeline:
    """The pipeline that a command line names, on its device.

    Raises:
        DiffcamError: If something is missing or does not fit.
    """
    from diffcam.models.loading import usable_device
    from diffcam.pipeline import RefocusPipeline
    from diffcam.pretrained.depth import DepthAnything

    device = usable_device(args.device or "auto", "--device")
    if args.offload and device.type == "cpu":
        raise DiffcamError("--offload: there is nothing to offload from on the CPU; name a GPU with --device")
    estimator = DepthAnything(args.depth_model, str(device)) if args.depth_model is not None else None
    pipeline = RefocusPipeline.from_pretrained(
        args.model,
        adapter=args.adapter,
        device_map=None if args.offload else device,
        depth_estimator=estimator,
        quantization=args.quantization,
    )
    if args.offload:
        pipeline.enable_model_cpu_offload(device=device)
    return pipeline
