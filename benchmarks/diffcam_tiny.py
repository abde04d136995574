"""What diffcam-tiny does on the held-out scenes, line by line against what it should do.

Photos and targets come from the occlusion renderer, which the model itself calls: what it does to blur that no renderer
of diffcam made is told by ``benchmarks/real_optics.py``.

Methods run as in ``diffcam benchmark run`` (nothing finished is done again).

Usage: ``python benchmarks/diffcam_tiny.py [--model diffcam-tiny] [--write docs/diffcam_tiny.md]``
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from diffcam.benchmark import Edition, ImperfectDepth, LayeredDeconvolution, Method, Refocuser, Results, run_method
from diffcam.benchmark.methods import Copy, GroundTruth
from diffcam.camera import Camera
from diffcam.data import BokehRenderer, DepthDropout
from diffcam.metrics import (
    LPIPS,
    MAE,
    PSNR,
    FocusHit,
    KeptPSNR,
    LVCorr,
    RelativeBlurError,
    SampleMetric,
    Table,
    estimate,
)
from diffcam.photo.pixels import to_picture
from diffcam.pipeline import RefocusPipeline

GAMMA = 2.2
METRICS: list[SampleMetric] = [MAE(), PSNR(), LPIPS(), LVCorr(), FocusHit(), KeptPSNR(), RelativeBlurError(gamma=GAMMA)]
STEPS = 2
"""Sampling steps of all lines that do not compare them."""


Figure = Callable[[dict[str, Results]], float]
"""From results by method."""


@dataclass(frozen=True)
class Line:
    """A line of the table.

    Args:
        subtask: Where it is measured.
        name: What is measured.
        sign: Whether the figure should be at least (``>=``) or at most (``<=``) the bound.
        bound: The bound.
        figure: What is found.
        unit: Printed behind figure and bound.
    """

    subtask: str
    name: str
    sign: Literal[">=", "<="]
    bound: float
    figure: Figure
    unit: str = ""

    def cells(self, results: dict[str, Results]) -> tuple[str, ...]:
        """The line as printed."""
        found = self.figure(results)
        holds = found >= self.bound if self.sign == ">=" else found <= self.bound
        asked = f"{self.sign} {self.bound:g}{self.unit}"
        return self.subtask, self.name, asked, f"{found:.2f}{self.unit}", "holds" if holds else "falls short"


def mean(results: Results, metric: type[SampleMetric], subtask: str, samples: Container[int] | None = None) -> float:
    """Mean of a metric over the scenes, from all samples or from some."""
    found = next(one for one in METRICS if type(one) is metric)
    rows = [row for row in results.rows.values() if row.subtask == subtask]
    return estimate([row for row in rows if samples is None or row.sample in samples], found).value


def ratio(metric: type[SampleMetric], subtask: str, method: str, to: str) -> Figure:
    """A method's mean over another's."""
    return lambda results: mean(results[method], metric, subtask) / mean(results[to], metric, subtask)


def gain(metric: type[SampleMetric], subtask: str, method: str, over: str) -> Figure:
    """A method's mean less another's, on the samples that both have."""

    def figure(results: dict[str, Results]) -> float:
        common = results[method].rows.keys() & results[over].rows.keys()
        return mean(results[method], metric, subtask, common) - mean(results[over], metric, subtask, common)

    return figure


def plain(metric: type[SampleMetric], subtask: str) -> Figure:
    """The model's mean."""
    return lambda results: mean(results["model"], metric, subtask)


ADD, REFOCUS, REMOVE = "add_bokeh", "refocus", "remove_bokeh"
LINES = (
    Line(ADD, "MAE over copy's, with depth", "<=", 0.35, ratio(MAE, ADD, "model", "copy")),
    Line(ADD, "MAE over copy's, without depth", "<=", 0.7, ratio(MAE, ADD, "no-depth", "copy")),
    Line(ADD, "LVCorr", ">=", 0.9, plain(LVCorr, ADD)),
    Line(ADD, "relative error of the blur radius", "<=", 0.15, plain(RelativeBlurError, ADD)),
    Line(ADD, "kept regions: PSNR to the photo", ">=", 34, plain(KeptPSNR, ADD), " dB"),
    Line(REFOCUS, "PSNR above copy's", ">=", 3, gain(PSNR, REFOCUS, "model", "copy"), " dB"),
    Line(REFOCUS, "focus hits", ">=", 0.85, plain(FocusHit, REFOCUS)),
    Line(REMOVE, "PSNR above copy's", ">=", 1.5, gain(PSNR, REMOVE, "model", "copy"), " dB"),
    Line(REMOVE, "LPIPS over copy's", "<=", 0.8, ratio(LPIPS, REMOVE, "model", "copy")),
    Line(REMOVE, "PSNR above blind deconvolution's", ">=", 0, gain(PSNR, REMOVE, "model", "deconvolution"), " dB"),
    Line(REMOVE, "LPIPS over blind deconvolution's", "<=", 1, ratio(LPIPS, REMOVE, "model", "deconvolution")),
    Line(ADD, "PSNR lost by 4 in place of 8 steps", "<=", 0.3, gain(PSNR, ADD, "8-steps", "4-steps"), " dB"),
    Line(ADD, "PSNR lost by 2 in place of 8 steps", "<=", 0.3, gain(PSNR, ADD, "8-steps", "model"), " dB"),
)


class OneLevel(Refocuser):
    """A model that adds blur of one level in each scene: more steps take their time."""

    def selects(self, number: int, subtask: str) -> bool:
        """The third of a scene's four levels; a scene has ten samples."""
        return subtask == ADD and number % 10 == 4


def methods(model: str) -> dict[str, Method]:
    """What is run, by the names that the lines use."""
    tiny = Refocuser(model, steps=STEPS)
    return {
        "ground-truth": GroundTruth(),
        "copy": Copy(),
        "deconvolution": LayeredDeconvolution(renderer=BokehRenderer(gamma=GAMMA)),
        "model": tiny,
        "no-depth": ImperfectDepth(tiny, DepthDropout(1.0)),
        "4-steps": OneLevel(model, steps=4),
        "8-steps": OneLevel(model, steps=8),
    }


def clicks(model: str, edition: Edition) -> list[tuple[str, ...]]:
    """Seconds of the first click on a sharp and on a blurred photo, and of a further one, by the number of steps."""
    numbers = edition.scenes()[0].numbers
    pipeline = RefocusPipeline.from_pretrained(model)
    rows = []
    for steps in (STEPS, 4, 8):
        times = []
        for number in (numbers[2], numbers[9]):  # all in focus; the strongest blur
            sample = edition[number]
            started = time.monotonic()
            session = pipeline.open(to_picture(sample.reference), sample.disparity[0])
            session.refocus(Camera((0.3, 0.5), 12.0), steps)
            times.append(time.monotonic() - started)
        started = time.monotonic()
        session.refocus(Camera((0.7, 0.5), 12.0), steps)
        rows.append((str(steps), *(f"{seconds:.1f} s" for seconds in (*times, time.monotonic() - started))))
    return rows


def tables(results: dict[str, Results], timings: Sequence[tuple[str, ...]], size: int) -> list[Table]:
    """The lines, and the seconds."""
    scenes = len({row.scene for row in results["model"].rows.values()})
    return [
        Table(
            f"diffcam-tiny on {scenes} held-out scenes at {size} px, {STEPS} steps",
            ("sub-task", "measured", "asked", "found", ""),
            tuple(line.cells(results) for line in LINES),
            (f"LVCorr of the ground truth: {mean(results['ground-truth'], LVCorr, 'add_bokeh'):.2f}",),
        ),
        Table(
            f"Seconds a click, {size}x{size}, {torch.get_num_threads()} threads",
            ("steps", "first, sharp photo (asked: 10 s)", "first, blurred photo (asked: 10 s)", "further (asked: 4 s)"),
            tuple(timings),
        ),
    ]


def main() -> None:
    """Run what is not there yet, print the tables, and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="diffcam-tiny", help="packaged name or model folder")
    parser.add_argument("--output", type=Path, default=Path("outputs/diffcam-tiny"), help="folder of results")
    parser.add_argument("--write", type=Path, help="Markdown file for the tables")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument(
        "--shards", nargs="+", default=["data_shards/heldout-*.tar"], help="held-out scenes with samples"
    )
    parser.add_argument("--size", type=int, default=512, help="short side in pixels")
    args = parser.parse_args()
    edition = Edition(args.shards, args.size, BokehRenderer(gamma=GAMMA, mode="occlusion"))
    results = {}
    for order, (name, method) in enumerate(methods(args.model).items()):
        started = time.monotonic()
        results[name] = run_method(
            name, method, edition, METRICS, args.output, order=order, workers=args.workers, force=True
        )
        if not results[name].rows:
            parser.error(results[name].record["not_available"])
        print(f"{name}: {time.monotonic() - started:.0f} s", flush=True)
    found = tables(results, clicks(args.model, edition), args.size)
    print("\n\n".join(table.text() for table in found))
    if args.write:
        text = "\n".join(["# diffcam-tiny, measured\n", *(table.markdown() for table in found)])
        args.write.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
