"""``diffcam plan``: what a config will cost on which machine, before anything is downloaded or trained."""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Iterator
from pkgutil import resolve_name
from typing import Any

import torch

from diffcam.errors import DiffcamError

GPUS = {
    "rtx3090": (24, 71.0),
    "rtx4090": (24, 165.2),
    "rtx5090": (32, 209.5),
    "l40s": (48, 362.0),
    "a100": (80, 312.0),
    "h100": (80, 989.4),
    "h200": (141, 989.4),
    "b200": (180, 2250.0),
}
"""Memory in GB and dense bfloat16 TFLOP/s with float32 sums, from the makers' data sheets."""

SHAPES = {
    "diffcam.models.load_flux_transformer": "diffcam.models.flux.flux_transformer_shape",
    "diffcam.models.load_flux_codec": "diffcam.models.flux.flux_codec_shape",
}
"""What stands in for loaders of weights: the same shapes on the meta device."""

SECONDS_A_DAY = 86_400


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line of ``diffcam plan``."""
    parser.add_argument("--config", action="append", required=True, metavar="FILE", help="as for `lightning fit`")
    parser.add_argument("--gpu", choices=sorted(GPUS), default="a100", help="what the days are reckoned on")
    parser.add_argument("--utilisation", type=float, default=0.4, help="share of its peak that is reached (0.4)")
    parser.add_argument("--clicks", action="store_true", help="also count opening a photo and one sampling step")
    overrides = "further options of `lightning fit`, without the dashes"
    parser.add_argument("overrides", nargs="*", metavar="KEY=VALUE", help=overrides)


def run(args: argparse.Namespace) -> int:
    """Print the plan.

    Raises:
        DiffcamError: If a number is out of range or the config does not describe a training run.
    """
    if not 0 < args.utilisation <= 1:
        raise DiffcamError(f"--utilisation {args.utilisation:g}: must lie in (0, 1]")
    files = [part for file in args.config for part in ("--config", file)]
    for line in plan(["fit", *files, *(f"--{one}" for one in args.overrides)], args):
        print(line, flush=True)
    return 0


def plan(command: list[str], args: argparse.Namespace) -> Iterator[str]:
    """Lines of the plan of a ``lightning fit`` command line."""
    from diffcam.callbacks import EMA
    from diffcam.models.adapters import trained_parameters
    from diffcam.planning.memory import MetaStep, click_flops, click_memory, plan_memory, remembered_bytes
    from diffcam.planning.operations import count
    from diffcam.tasks import ShardedStrategy

    config, task, data = _instantiate(command)
    trainer, quantizations = config.trainer, (node.get("quantization") for node in _classes(config.model))
    quantization = next((bits for bits in quantizations if bits is not None), None)
    asked = _number(trainer.devices)
    devices = (asked or 1) * trainer.num_nodes
    pairs = data.global_batch or data.batch_size * devices * trainer.accumulate_grad_batches
    trained = trained_parameters(task)
    projector = count(value for name, value in trained.items() if "_projector" in name)
    adapters = count(value for name, value in trained.items() if "lora_" in name)
    base = count(value for name, value in task.model.transformer.base.named_parameters() if "lora_" not in name)
    if asked is None:
        yield f"trainer.devices {trainer.devices}: counted as one a node; name their number, as trainer.devices=8"
    yield f"transformer              {base:>14,} parameters"
    yield f"codec                    {count(task.model.codec.parameters()):>14,}"
    yield f"trained                  {count(trained.values()):>14,}, {adapters:,} adapters and {projector:,} camera"
    step = MetaStep(task, data.batch_size, data.largest)
    averaged = any(_is_a(callback, EMA) for callback in trainer.callbacks or [])
    sharded = _is_a(trainer.strategy, ShardedStrategy)
    if trainer.max_steps < 1:
        raise DiffcamError(f"trainer.max_steps {trainer.max_steps}: the plan needs a number of steps")
    memory = plan_memory(task, step.peak_memory(), averaged, quantization, devices if sharded else 1)
    size = "x".join(map(str, data.largest))
    yield f"memory a device, {data.batch_size} pair(s) of {size} at once, GB"
    for name, value in {**vars(memory), "total": memory.total}.items():
        yield f"  {name:<14}{value / 1e9:8.2f}"
    flops = step.flops() / data.batch_size
    peak = GPUS[args.gpu][1] * 1e12
    seconds = flops * pairs / (devices * peak * args.utilisation)
    yield f"operations a pair        {flops / 1e12:10.1f} TFLOP (recomputation not counted)"
    yield f"operations a step        {flops * pairs / 1e15:10.2f} PFLOP, {pairs} pairs"
    yield (
        f"{trainer.max_steps} steps on {devices} {args.gpu} at {args.utilisation:.0%} of {peak / 1e12:g} TFLOP/s: "
        f"{seconds:.1f} s a step, {seconds * trainer.max_steps / SECONDS_A_DAY:.1f} days"
    )
    if memory.total > GPUS[args.gpu][0] * 1e9:
        yield f"does not fit in the {GPUS[args.gpu][0]} GB of a {args.gpu}"
    if task.model.transformer.attention == "cached":
        yield f"keys and values a photo  {remembered_bytes(task.model, data.resolution) / 1e9:10.2f} GB"
    if args.clicks:
        opening, click = click_flops(task.model, data.resolution)
        yield f"opening a photo          {opening / 1e12:10.1f} TFLOP; one sampling step {click / 1e12:.1f} TFLOP"
        weights, besides = click_memory(task.model, data.resolution, quantization)
        yield f"memory to refocus        {(weights + besides) / 1e9:10.2f} GB, {weights / 1e9:.2f} of them weights"


def _instantiate(command: list[str]) -> tuple[Any, Any, Any]:
    """Config, task and data module of a command line; the task's weights are on the meta device."""
    from diffcam.commands.cli import train
    from diffcam.commands.lightning_cli import CheckedCLI

    class Planner(CheckedCLI):
        """Builds task and data, and neither a trainer nor anything that it would run."""

        def instantiate_classes(self) -> None:
            chosen = self.config[self.subcommand]
            self.kept = chosen.clone()
            for node in _classes(chosen.model):
                if node.get("class_path") in SHAPES:
                    node["class_path"] = SHAPES[node["class_path"]]
                for name in ("weights", "compile_backend"):
                    if name in node.get("init_args", {}):
                        node["init_args"][name] = None
            del chosen["trainer"]
            chosen["trainer"] = None
            with torch.device("meta"):
                built = self.parser.instantiate_classes(self.config)[self.subcommand]
            self.model, self.datamodule = built.model, built.data

        def _run_subcommand(self, subcommand: str) -> None:
            pass

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="LightningCLI's args")  # that they differ from sys.argv is meant
        warnings.filterwarnings("ignore", message=".*which is a no-op")  # shapes take no weights
        cli = train(command, cli=Planner)
    return cli.kept, cli.model, cli.datamodule


def _classes(node: Any) -> Iterator[Any]:
    """Every class of a config, inner ones last."""
    if hasattr(node, "get") and hasattr(node, "items"):
        yield node
        for value in list(vars(node).values()):
            yield from _classes(value)


def _is_a(node: Any, kind: type) -> bool:
    """Whether a part of a config names a class, or a subclass of it."""
    named = resolve_name(node.class_path) if hasattr(node, "class_path") else None
    return isinstance(named, type) and issubclass(named, kind)


def _number(devices: Any) -> int | None:
    """How many devices a trainer asks for on a node; None: all that there are."""
    if isinstance(devices, list):
        return len(devices)
    return int(devices) if str(devices).isdigit() else None
