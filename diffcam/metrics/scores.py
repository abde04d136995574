"""From batches of outputs to rows: every metric's number for every sample, kept in a CSV file."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from diffcam.camera import CameraBatch
from diffcam.data.batch import RefocusBatch
from diffcam.errors import DiffcamError
from diffcam.metrics.base import MissingWeightsError, SampleMetric
from diffcam.metrics.pixel import ssim_map
from diffcam.photo.pixels import round_to_8_bit

FIELDS = ("method", "sample", "scene", "subtask", "source", "bokeh", "focus_x", "focus_y")
"""Columns of a file of rows before those of the metrics."""

ROWS_FILE = "samples.csv"
"""Name of that file in the folder of a run or of a method's results."""

MODEL = "model"
"""What ``lightning test`` calls the tested model in its rows."""


class Row(NamedTuple):
    """One method's scores on one sample.

    Args:
        sample: Number of the sample in the benchmark.
        bokeh, focus: Level and point asked for, the point in fractions of width and height.
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


def encode_row(row: Row) -> str:
    """A row as one line of JSON."""
    return json.dumps(row._asdict())


def decode_row(line: str) -> Row:
    """The row that :func:`encode_row` wrote; a ValueError if the line is no whole JSON."""
    entry = json.loads(line)
    return Row(**{**entry, "focus": tuple(entry["focus"])})


@dataclass(frozen=True)
class Comparison:
    """A batch of one target a sample beside a method's outputs for it: what metrics take, by name.

    All pictures are rounded to 8 bits, so that what was saved and what is in memory score alike.
    """

    batch: RefocusBatch
    outputs_B3HW: Tensor

    @cached_property
    def prediction(self) -> Tensor:
        """The outputs, ``(B, 3, H, W)``."""
        return round_to_8_bit(self.outputs_B3HW.float())

    @cached_property
    def target(self) -> Tensor:
        """The ground truth, ``(B, 3, H, W)``."""
        return round_to_8_bit(self.batch.targets[:, 0].float())

    @cached_property
    def reference(self) -> Tensor:
        """What the method was given, ``(B, 3, H, W)``."""
        return round_to_8_bit(self.batch.reference.float())

    @property
    def cameras(self) -> CameraBatch:
        """What was asked for, ``(B,)``."""
        return self.batch.cameras[:, 0]

    @cached_property
    def similarity(self) -> Tensor:
        """SSIM at each pixel, see :func:`diffcam.metrics.pixel.ssim_map`; several metrics read it."""
        return ssim_map(self.prediction, self.target)

    @cached_property
    def asked_radius(self) -> Tensor:
        """Blur radius asked for at each pixel, ``(B, 1, H, W)`` pixels (paper eq. 7).

        Raises:
            ValueError: If the exact disparity is not known.
        """
        if self.batch.exact_disparity is None:
            raise ValueError("metrics of focus and blur need the exact disparity of the samples")
        return self.cameras.defocus_pixels(self.batch.exact_disparity).abs()

    @property
    def sharp(self) -> Tensor:
        """The scene without blur, ``(B, 3, H, W)``, not rounded.

        Raises:
            ValueError: If it is not known.
        """
        if self.batch.all_in_focus is None:
            raise ValueError("metrics of focus and blur need the all-in-focus image of the samples")
        return self.batch.all_in_focus


class Scores(Metric):
    """The scores of methods on samples: :meth:`update` with batches of outputs, :meth:`compute` for all rows.

    The state is the rows as lines of JSON in tensors of bytes, so that torchmetrics can gather them from all processes.

    Attributes:
        missing: Column to reason, of the metrics whose weights cannot be had.

    Raises:
        ValueError: If two metrics have one column.

    Examples:
        >>> data = diffcam.data.RefocusDataModule(test=["data_shards/heldout-ai-*.tar"], resolution=64, num_workers=0)
        >>> data.setup("test")
        >>> scores, batch = Scores([diffcam.metrics.MAE()]), next(iter(data.test_dataloader()))
        >>> scores.update("copy", batch, batch.reference)
        >>> [(row.subtask, round(row.scores["mae"], 3)) for row in scores.compute()][4:6]
        [('add_bokeh', 0.014), ('add_bokeh', 0.017)]
    """

    full_state_update = False
    lines: list[Tensor]

    def __init__(self, metrics: Sequence[SampleMetric]) -> None:
        super().__init__()
        columns = [metric.column for metric in metrics]
        if len(set(columns)) < len(columns):
            raise ValueError(f"metrics must have different columns, got {', '.join(columns)}")
        self.metrics = tuple(metrics)
        self.missing: dict[str, str] = {}
        self.add_state("lines", [], dist_reduce_fx="cat")

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

    def update(self, method: str, batch: RefocusBatch, outputs_B3HW: Tensor) -> None:
        """Score a method's outputs ``(B, 3, H, W)`` for a batch of one target a sample."""
        # on a CPU one by one: a batch's temporaries leave its caches and are given back to the system after each step
        size = 1 if outputs_B3HW.device.type == "cpu" else len(batch)
        for start in range(0, len(batch), size):
            part = batch.part(start, start + size)
            compared = Comparison(part, outputs_B3HW[start : start + size])
            scores = {
                metric.column: metric.score(*(getattr(compared, name) for name in metric.inputs)).tolist()
                for metric in self.available
            }
            rows = [
                Row(
                    method=method,
                    sample=int(part.index[i]),
                    scene=part.scenes[i],
                    subtask=part.subtasks[i],
                    source=part.sources[i],
                    bokeh=float(compared.cameras.bokeh[i]),
                    focus=(float(compared.cameras.focus[i, 0]), float(compared.cameras.focus[i, 1])),
                    scores={column: numbers[i] for column, numbers in scores.items()},
                )
                for i in range(len(part))
            ]
            text = "".join(f"{encode_row(row)}\n" for row in rows)
            self.lines.append(torch.tensor(list(text.encode()), dtype=torch.uint8, device=outputs_B3HW.device))

    def compute(self) -> list[Row]:
        """The rows of all processes, by method in the order of its first row and by sample.

        Each sample counts once: a distributed sampler repeats some to fill up. Call :meth:`update` before.
        """
        text = dim_zero_cat(self.lines).cpu().numpy().tobytes().decode()
        found: dict[tuple[str, int], Row] = {}
        for row in map(decode_row, text.splitlines()):
            found.setdefault((row.method, row.sample), row)
        methods = list(dict.fromkeys(row.method for row in found.values()))
        return sorted(found.values(), key=lambda row: (methods.index(row.method), row.sample))


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write rows as CSV, one line a sample."""
    columns = list(dict.fromkeys(column for row in rows for column in row.scores))
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*FIELDS, *columns])
        for row in rows:
            numbers = [row.bokeh, *row.focus, *(row.scores[column] for column in columns)]
            values = [row.method, row.sample, row.scene, row.subtask, row.source, *(f"{n:.7g}" for n in numbers)]
            writer.writerow(values)


def read_rows(path: Path) -> list[Row]:
    """Read what :func:`write_rows` wrote.

    Raises:
        DiffcamError: If the file is not such a table.

    Examples:
        >>> row = Row("copy", 0, "toy/000000", "refocus", "camera", 8.0, (0.25, 0.5), {"mae": 0.125})
        >>> write_rows(Path("rows.csv"), [row])
        >>> read_rows(Path("rows.csv"))[0].scores
        {'mae': 0.125}
    """
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        try:
            rows = []
            for record in reader:
                method, number, scene, subtask, source = (record.pop(name) for name in FIELDS[:5])
                bokeh, x, y = (float(record.pop(name)) for name in FIELDS[5:])
                scores = {column: float(value) for column, value in record.items()}
                rows.append(Row(method, int(number), scene, subtask, source, bokeh, (x, y), scores))
            return rows
        except (KeyError, TypeError, ValueError) as error:
            raise DiffcamError(f"{path}, line {reader.line_num}: not a row of scores ({error})") from error
