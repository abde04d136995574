"""``diffcam average``: the mean of the weights of models that were trained from one another.

Runs that start from the same weights end in the same basin, and their mean is often better than each of them
(Wortsman et al., Model soups, ICML 2022). The average within a run is the callback ``EMA``.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from diffcam.errors import DiffcamError

if TYPE_CHECKING:
    from diffcam.models import RefocusModel


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line of ``diffcam average``."""
    parser.add_argument("models", nargs="+", metavar="MODEL", help="model folders or packaged names, two or more")
    parser.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="where the mean is written")


def run(args: argparse.Namespace) -> int:
    """Average and write.

    Raises:
        DiffcamError: If there are fewer than two models, one cannot be read, they are of different make or shape, or
            the output exists.
    """
    from diffcam.models import load_model
    from diffcam.models.checkpoint import packaged, save_model

    if len(args.models) < 2:
        raise DiffcamError("name two models or more to average")
    if args.output.exists():
        raise DiffcamError(f"--output {args.output}: exists already; choose another")
    loaded = [load_model(packaged(name) or Path(name)) for name in args.models]
    model, settings = loaded[0]
    for name, (one, other) in zip(args.models, loaded, strict=True):
        if other != settings or _make(one) != _make(model):
            raise DiffcamError(f"{name}: of another make than {args.models[0]}, such models have no mean")
    average([one for one, _ in loaded], args.models)
    save_model(model, args.output, settings.trained_size)
    print(f"the mean of {len(loaded)} models is in {args.output}")
    return 0


def _make(model: RefocusModel) -> list[dict[str, Any]]:
    """What the weights belong to; entries with an underscore say where it was read from."""
    parts: list[Any] = [model.codec, model.transformer.base]
    return [{name: value for name, value in part.config.items() if name[0] != "_"} for part in parts]


def average(models: Sequence[RefocusModel], names: Sequence[str]) -> None:
    """Put the mean of all weights into the first model.

    Raises:
        DiffcamError: If they are of different shapes.
    """
    states = [model.state_dict() for model in models]
    shapes = [{name: value.shape for name, value in state.items()} for state in states]
    for name, shape in zip(names, shapes, strict=True):
        if shape != shapes[0]:
            raise DiffcamError(f"{name}: its weights have other shapes than those of {names[0]}")
    for name, value in states[0].items():
        value.copy_(torch.stack([state[name] for state in states]).mean(0))
