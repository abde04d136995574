"""From batches of outputs to rows: every metric's number for every sample, kept in a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from diffcam.camera import CameraBatch
from diffcam.errors import DiffcamError
from diffcam.metrics.base import MissingWeightsError, SampleMetric
from diffcam.metrics.pixel import ssim_map

FIELDS = ("method", "sample", "scene", "subtask", "source", "bokeh", "focus_x", "focus_y")


def round_to_8_bit(image_B3HW: Tensor) -> Tensor:
    """The picture that a file or a screen would show: values rounded to multiples of 1/255 within [0, 1]."""
    return image_B3HW.float().clamp(0, 1).mul_(255).round_().div_(255)


@dataclass(frozen=True)
class Comparison:
    """Outputs of a method beside all that a metric may judge them by.

    Args:
        prediction: ``(B, 3, H, W)`` outputs, display values in [0, 1]; so are the other images.
        target: ``(B, 3, H, W)`` ground truth.
        reference: ``(B, 3, H, W)`` what the method was given.
        cameras: ``(B,)`` what was asked for.
        samples: ``(B,)`` numbers of the samples in the benchmark.
        scenes, subtasks, sources: A name for each sample.
        all_in_focus: ``(B, 3, H, W)`` the scene without blur, where known.
        disparity: ``(B, 1, H, W)`` exact disparity in [0, 1], where known.
    """

    prediction: Tensor
    target: Tensor
    reference: Tensor
    cameras: CameraBatch
    samples: Tensor
    scenes: Sequence[str]
    subtasks: Sequence[str]
    sources: Sequence[str]
    all_in_focus: Tensor | None = None
    disparity: Tensor | None = None

    @cached_property
    def similarity(self) -> Tensor:
        """SSIM at each pixel, see :func:`diffcam.metrics.pixel.ssim_map`; several metrics read it."""
        return ssim_map(self.prediction, self.target)

    @cached_property
    def asked_radius(self) -> Tensor:
        """Blur radius asked for at each pixel, ``(B, 1, H, W)`` pixels (paper eq. 7); needs the exact disparity."""
        return self.cameras.blur_radius(self.exact_disparity)

    @property
    def exact_disparity(self) -> Tensor:
        """The disparity.

        Raises:
            ValueError: If it is not known.
        """
        if self.disparity is None:
            raise ValueError("metrics of focus and blur need the exact disparity of the samples")
        return self.disparity

    @property
    def sharp(self) -> Tensor:
        """The all-in-focus images.

        Raises:
            ValueError: If they are not known.
        """
        if self.all_in_focus is None:
            raise ValueError("metrics of focus and blur need the all-in-focus image of the samples")
        return self.all_in_focus

    def with_prediction(self, prediction_B3HW: Tensor) -> Comparison:
        """The same samples with other outputs."""
        return replace(self, prediction=prediction_B3HW)

    def split(self) -> list[Comparison]:
        """The samples one by one."""
        return [self._part(slice(number, number + 1)) for number in range(len(self.samples))]

    def _part(self, part: slice) -> Comparison:
        return Comparison(
            prediction=self.prediction[part],
            target=self.target[part],
            reference=self.reference[part],
            cameras=CameraBatch(self.cameras.focus[part], self.cameras.bokeh[part]),
            samples=self.samples[part],
            scenes=self.scenes[part],
            subtasks=self.subtasks[part],
            sources=self.sources[part],
            all_in_focus=None if self.all_in_focus is None else self.all_in_focus[part],
            disparity=None if self.disparity is None else self.disparity[part],
        )

    def as_pictures(self) -> Comparison:
        """All images as 8-bit pictures, so that what was saved and what is in memory score alike."""
        return replace(
            self,
            prediction=round_to_8_bit(self.prediction),
            target=round_to_8_bit(self.target),
            reference=round_to_8_bit(self.reference),
        )


@dataclass(frozen=True)
class Row:
    """One method's scores on one sample.

    Args:
        method: Name of the method.
        sample: Number of the sample in the benchmark.
        scene, subtask, source: Where the sample comes from.
        bokeh: Level asked for.
        focus: Focus point asked for, fractions of width and height.
        scores: Number of each column; NaN where the metric is not defined on the sample.
    """

    method: str
    sample: int
    scene: str
    subtask: str
    source: str
    bokeh: float
    focus: tuple[float, float]
    scores: Mapping[str, float]


class Scorer:
    """Scores outputs with a set of metrics; what cannot be computed is kept in words.

    Args:
        metrics: The metrics, each with its own ``column``.

    Attributes:
        missing: Column to reason, of the metrics whose weights cannot be had.
    """

    def __init__(self, metrics: Sequence[SampleMetric]) -> None:
        columns = [metric.column for metric in metrics]
        if len(set(columns)) < len(columns):
            raise ValueError(f"metrics must have different columns, got {', '.join(columns)}")
        self.metrics = tuple(metrics)
        self.missing: dict[str, str] = {}

    @cached_property
    def available(self) -> tuple[SampleMetric, ...]:
        """The metrics whose weights are there; asked once, when first needed."""
        found = []
        for metric in self.metrics:
            try:
                metric.prepare()
                found.append(metric)
            except MissingWeightsError as error:
                self.missing[metric.column] = str(error)
        return tuple(found)

    @torch.no_grad()
    def __call__(self, method: str, comparison: Comparison) -> list[Row]:
        """One row a sample of the batch."""
        if comparison.prediction.device.type == "cpu" and len(comparison.samples) > 1:
            # a batch's temporaries leave a CPU's caches and are given back to the system after each step
            return [row for single in comparison.split() for row in self(method, single)]
        pictures = comparison.as_pictures()
        scores = {
            metric.column: metric.score(*(getattr(pictures, name) for name in metric.inputs)).tolist()
            for metric in self.available
        }
        return [
            Row(
                method=method,
                sample=int(comparison.samples[i]),
                scene=comparison.scenes[i],
                subtask=comparison.subtasks[i],
                source=comparison.sources[i],
                bokeh=float(comparison.cameras.bokeh[i]),
                focus=(float(comparison.cameras.focus[i, 0]), float(comparison.cameras.focus[i, 1])),
                scores={column: values[i] for column, values in scores.items()},
            )
            for i in range(len(comparison.samples))
        ]


def unique_rows(rows: Iterable[Row]) -> list[Row]:
    """Rows in the order of methods and samples, each sample once: a distributed sampler repeats some to fill up."""
    found: dict[tuple[str, int], Row] = {}
    for row in rows:
        found.setdefault((row.method, row.sample), row)
    methods = list(dict.fromkeys(row.method for row in found.values()))
    return sorted(found.values(), key=lambda row: (methods.index(row.method), row.sample))


def write_rows(path: Path, rows: Sequence[Row], append: bool = False) -> None:
    """Write rows as CSV, one line a sample, or add them to a file that has the same columns."""
    columns = list(dict.fromkeys(column for row in rows for column in row.scores))
    with open(path, "a" if append else "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        if file.tell() == 0:
            writer.writerow([*FIELDS, *columns])
        for row in rows:
            numbers = [row.bokeh, *row.focus, *(row.scores[column] for column in columns)]
            values = [row.method, row.sample, row.scene, row.subtask, row.source, *(f"{n:.7g}" for n in numbers)]
            writer.writerow(values)


def read_rows(path: Path) -> list[Row]:
    """Read what :func:`write_rows` wrote.

    Raises:
        DiffcamError: If the file is not such a table.
    """
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        try:
            return [_row(dict(record)) for record in reader]
        except (KeyError, TypeError, ValueError) as error:
            raise DiffcamError(f"{path}, line {reader.line_num}: not a row of scores ({error})") from error


def _row(record: dict[str, str]) -> Row:
    method, sample, scene, subtask, source, bokeh, x, y = (record.pop(name) for name in FIELDS)
    scores = {column: float(value) for column, value in record.items()}
    return Row(method, int(sample), scene, subtask, source, float(bokeh), (float(x), float(y)), scores)
