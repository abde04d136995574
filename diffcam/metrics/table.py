"""Tables of scores: means over scenes with bootstrap intervals, as text, Markdown and LaTeX; all formatting is here."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from diffcam.grid import SUBTASKS
from diffcam.metrics.base import SampleMetric
from diffcam.metrics.scores import Row

NONE = "–"
"""Stands where there is nothing to average."""

RESAMPLES = 1000
"""Sets of scenes that a bootstrap interval is read from."""

CONFIDENCE = 0.95
"""Share of those sets whose means lie inside the interval."""


@dataclass(frozen=True)
class Estimate:
    """A mean, the ends of its 95 % bootstrap interval, and how many scenes it rests on; NaN where there are none."""

    value: float
    low: float
    high: float
    scenes: int


def estimate(rows: Sequence[Row], metric: SampleMetric, seed: int = 0) -> Estimate:
    """Mean of a metric over rows, its interval from resampling whole scenes.

    Samples of one scene share its image, so scenes, not samples, are what is drawn again.

    Examples:
        >>> rows = [Row("copy", n, f"s/{n}", "refocus", "camera", 8.0, (0.5, 0.5), {"mae": n / 8}) for n in range(5)]
        >>> estimate(rows, diffcam.metrics.MAE())
        Estimate(value=0.25, low=0.1, high=0.4, scenes=5)
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if metric.column in row.scores:
            groups.setdefault(row.scene, []).append(row)
    scenes = [
        metric.scene_totals(np.array([r.scores[metric.column] for r in group]), np.array([r.bokeh for r in group]))
        for group in groups.values()
    ]
    totals = np.array([scene for scene in scenes if scene[1] > 0]).reshape(-1, 2)
    if len(totals) == 0:
        return Estimate(math.nan, math.nan, math.nan, 0)
    drawn = np.random.default_rng(seed).integers(len(totals), size=(RESAMPLES, len(totals)))
    sums = totals[drawn].sum(axis=1)
    tail = 50 * (1 - CONFIDENCE)
    # no interpolation: between infinite values (PSNR of equal images) it would give NaN
    low, high = np.percentile(sums[:, 0] / sums[:, 1], [tail, 100 - tail], method="nearest")
    total, weight = totals.sum(axis=0)
    return Estimate(float(total / weight), float(low), float(high), len(totals))


def format_number(value: float, digits: int) -> str:
    """A number as tables print it: fixed decimals, ∞ for infinite, a dash for NaN."""
    if math.isnan(value):
        return NONE
    return f"{value:.{digits}f}" if math.isfinite(value) else ("∞" if value > 0 else "-∞")


def format_mean(rows: Sequence[Row], metric: SampleMetric, missing: Container[str], interval: bool) -> str:
    """A metric's mean over rows as tables print it, with its interval if asked and if it has a width."""
    if metric.column in missing:
        return "n/a"
    found = estimate(rows, metric)
    text, low, high = (format_number(value, metric.digits) for value in (found.value, found.low, found.high))
    if not interval or math.isnan(found.value) or found.low == found.high:
        return text
    return f"{text} [{low}, {high}]"


def format_missing(label: str, reason: str) -> str:
    """The words that stand under a table for a number that cannot be computed."""
    return f"{label}: not available: {reason}"


@dataclass(frozen=True)
class Table:
    """A table of text cells; rows are as long as the header, and notes stand underneath.

    Examples:
        >>> print(Table("PSNR in dB", ("method", "sub-task", "PSNR"), (("copy", "refocus", "24.1"),)).text())
        PSNR in dB
        ----------------------
        method  sub-task  PSNR
        ----------------------
        copy    refocus   24.1
        ----------------------
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()

    def text(self) -> str:
        """For a terminal: aligned columns."""
        lines = [self.header, *self.rows]
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.header))]
        texts = []
        for line in lines:
            cells = [f"{line[i]:<{w}}" if i < 2 else f"{line[i]:>{w}}" for i, w in enumerate(widths)]
            texts.append("  ".join(cells).rstrip())
        rule = "-" * max(len(text) for text in texts)
        return "\n".join([self.title, rule, texts[0], rule, *texts[1:], rule, *self.notes])

    def markdown(self) -> str:
        """For a page: a pipe table."""
        lines = [
            "| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in (self.header, *self.rows)
        ]
        rule = "| " + " | ".join("---" if i < 2 else "---:" for i in range(len(self.header))) + " |"
        notes = [f"- {note}" for note in self.notes]
        return "\n".join([f"**{self.title}**", "", lines[0], rule, *lines[1:], "", *notes]).rstrip() + "\n"

    def latex(self) -> str:
        """For a paper: a tabular with booktabs rules."""
        columns = "".join("l" if i < 2 else "r" for i in range(len(self.header)))
        lines = [" & ".join(map(latex_escape, row)) + r" \\" for row in (self.header, *self.rows)]
        notes = [f"% {note}" for note in self.notes]
        start = [f"% {self.title}", rf"\begin{{tabular}}{{{columns}}}", r"\toprule", lines[0], r"\midrule"]
        return "\n".join([*start, *lines[1:], r"\bottomrule", r"\end{tabular}", *notes, ""])


def latex_escape(text: str) -> str:
    """Text with the characters that LaTeX takes for its own written out."""
    for plain, escaped in (("&", r"\&"), ("%", r"\%"), ("_", r"\_"), ("#", r"\#")):
        text = text.replace(plain, escaped)
    return text.replace("∞", r"$\infty$").replace("↑", r"$\uparrow$").replace("↓", r"$\downarrow$").replace("–", "--")


def heading(metric: SampleMetric) -> str:
    """A metric's label with an arrow that says which way is better."""
    return f"{metric.label} {'↑' if metric.higher_is_better else '↓'}"


def subtask_table(
    rows: Sequence[Row], metrics: Sequence[SampleMetric], missing: Mapping[str, str], title: str, interval: bool = False
) -> Table:
    """The table that a test ends with: one row a sub-task and method, one column a metric.

    A method that took part in some of the sub-tasks has no row of all: its mean would be one of other tasks.

    Args:
        missing: Reasons of the metrics that could not be computed, by column.

    Examples:
        >>> rows = [Row("copy", n, f"s/{n}", "refocus", "camera", 8.0, (0.5, 0.5), {"mae": n / 8}) for n in range(5)]
        >>> subtask_table(rows, [diffcam.metrics.MAE()], missing={}, title="Toy").rows
        (('refocus', 'copy', '5', '0.250'), ('all', 'copy', '5', '0.250'))
    """
    methods = list(dict.fromkeys(row.method for row in rows))
    present = [name for name in SUBTASKS if any(row.subtask == name for row in rows)]
    others = sorted({row.subtask for row in rows} - set(SUBTASKS))
    lines = []
    for subtask in [*present, *others, "all"]:
        for method in methods:
            chosen = [row for row in rows if row.method == method and subtask in (row.subtask, "all")]
            if not chosen or (subtask == "all" and {row.subtask for row in chosen} != {*present, *others}):
                continue
            cells = []
            for metric in metrics:
                asked = metric.subtasks is None or subtask in metric.subtasks
                cells.append(format_mean(chosen if asked else [], metric, missing, interval))
            lines.append((subtask.replace("_", " "), method, str(len(chosen)), *cells))
    notes = [metric.note for metric in metrics if metric.note and metric.column not in missing]
    notes += [format_missing(metric.label, missing[metric.column]) for metric in metrics if metric.column in missing]
    header = ("sub-task", "method", "samples", *(heading(metric) for metric in metrics))
    return Table(title, header, tuple(lines), tuple(notes))
