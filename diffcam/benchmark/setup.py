"""What a benchmark config says: the edition, the metrics and the methods, as objects named by their classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jsonargparse import ArgumentParser

from diffcam.benchmark.edition import Edition
from diffcam.benchmark.methods import Method
from diffcam.data.perturbation import DepthDropout, GaussianNoise, Perturbation, RandomMasking, RandomRectangle
from diffcam.data.rendering import BokehRenderer
from diffcam.errors import DiffcamError, check_choice
from diffcam.metrics import SampleMetric

DEPTHS: dict[str, Perturbation | None] = {
    "exact": None,
    "zero": DepthDropout(1.0),
    "masked": RandomMasking(0.3),
    "cropped": RandomRectangle(),
    "noisy": GaussianNoise(1.0),
}
"""The paper's table 6, as ``--depth`` names it."""


@dataclass(frozen=True)
class Setup:
    """A config, read.

    Args:
        shards: Of the edition: paths, brace patterns or globs.
        resolution: Side of the square that is shown, in pixels.
        renderer: Renders targets that are not stored.
        metrics: What is computed.
        methods: What is compared, by the names that tables print.
    """

    shards: list[str]
    resolution: int
    renderer: BokehRenderer
    metrics: list[SampleMetric]
    methods: dict[str, Method]

    def edition(self, shards: Sequence[str] | None, resolution: int | None, depth: str) -> Edition:
        """The edition, with what the command line changes; ``depth`` is a key of :data:`DEPTHS`."""
        check_choice("--depth", depth, DEPTHS)
        return Edition(
            shards or self.shards, self.resolution if resolution is None else resolution, self.renderer, DEPTHS[depth]
        )


def read_setup(*paths: Path) -> Setup:
    """Read a benchmark config, or several: what a later one says replaces what an earlier one said.

    Raises:
        DiffcamError: If a file is missing or they do not describe a benchmark.
    """
    parser = ArgumentParser(exit_on_error=False, parser_mode="omegaconf")
    parser.add_argument("--config", action="config")
    parser.add_class_arguments(Setup, as_group=False)
    for path in paths:
        if not path.is_file():
            raise DiffcamError(f"--config {path}: no such file")
    try:
        parsed = parser.instantiate(parser.parse_args([f"--config={path}" for path in paths]))
    except Exception as error:  # jsonargparse raises its own kinds, and what a constructor refuses
        raise DiffcamError(f"{', '.join(map(str, paths))}: {' '.join(str(error).split())}") from error
    return Setup(**{name: parsed[name] for name in Setup.__dataclass_fields__})
