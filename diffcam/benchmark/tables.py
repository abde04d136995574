"""Tables of results: one row a sub-task and method, and the paper's own tables with its figures marked as quoted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set

from diffcam.benchmark.paper import TABLES
from diffcam.benchmark.results import Results
from diffcam.errors import check_choice
from diffcam.grid import SUBTASKS
from diffcam.metrics import CLIPI, CLIPIQA, LPIPS, MAE, PSNR, LVCorr, Row, SampleMetric, Table, subtask_table
from diffcam.metrics.table import NONE, format_mean, format_missing, format_number, heading

QUOTED = "(paper)"
"""Entry of the column "run" in rows of quoted figures."""

PAPER_METRICS: tuple[type[SampleMetric], ...] = (MAE, PSNR, LPIPS, LVCorr, CLIPI, CLIPIQA)
"""The paper's metrics (section 4.2)."""

SUBTASK_HEADINGS = {"refocus": "refocus", "add_bokeh": "add", "remove_bokeh": "remove", "all": "all"}
"""Sub-tasks as a column's heading names them."""


def result_tables(
    results: Mapping[str, Results], metrics: Sequence[SampleMetric], title: str, interval: bool = True
) -> list[Table]:
    """Two tables of all methods: the paper's metrics, and those on focus, regions and identity."""
    rows = [row for one in results.values() for row in one.rows.values()]
    missing = _missing(results)
    ours = [metric for metric in metrics if isinstance(metric, PAPER_METRICS)]
    further = [metric for metric in metrics if not isinstance(metric, PAPER_METRICS)]
    tables = [subtask_table(rows, ours, missing, title, interval)] if ours else []
    if further:
        tables.append(subtask_table(rows, further, missing, f"{title}: focus, regions, identity", interval))
    if tables:
        last = tables[-1]
        notes = [*method_notes(results), *_fewer_samples({name: _rows(one, {"all"}) for name, one in results.items()})]
        tables[-1] = Table(last.title, last.header, last.rows, (*last.notes, *notes))
    return tables


def method_notes(results: Mapping[str, Results]) -> list[str]:
    """Lines on what each method is, why it could not run, and which samples failed."""
    notes = []
    editions = [one.record["edition"] for one in results.values() if "edition" in one.record]
    for name, one in results.items():
        if one.record.get("not_available"):
            notes.append(format_missing(name, one.record["not_available"]))
        elif one.record.get("note"):
            notes.append(f"{name}: {one.record['note']}")
        # Figures on other samples than the first run's do not compare.
        edition = one.record.get("edition", {})
        notes += [
            f"{name}: run on another edition ({setting} differ)"
            for setting in ("shards", "resolution", "gamma", "highlights", "mode")
            if edition and edition.get(setting) != editions[0].get(setting)
        ]
        failures = one.record.get("failures", {})
        if failures:
            number, reason = next(iter(failures.items()))
            start = "1 sample is missing" if len(failures) == 1 else f"{len(failures)} samples are missing; the first"
            notes.append(f"{name}: {start}, {number}: {reason}")
    return notes


def _fewer_samples(rows: Mapping[str, Sequence[Row]]) -> list[str]:
    """A note on runs that lack samples of their sub-tasks that others have; no note where none do."""
    every = {(row.sample, row.subtask) for of_one in rows.values() for row in of_one}
    fewer = []
    for name, of_one in rows.items():
        subtasks = {row.subtask for row in of_one}
        most = sum(subtask in subtasks for _, subtask in every)
        if len(of_one) < most:
            fewer.append(f"{name} ({len(of_one)} of {most})")
    return [f"scored on fewer samples than others: {', '.join(fewer)}"] if fewer else []


def paper_table(number: str, results: Mapping[str, Results], interval: bool = True) -> Table:
    """A table of the paper: our runs, and below them the printed figures, marked as such.

    Args:
        number: Key of :data:`diffcam.benchmark.paper.TABLES`.
        results: By method or, for tables 3 to 6, by run, see ``Quoted.run``.
    """
    check_choice("table", number, TABLES)
    layout = TABLES[number]
    columns = [(subtask, metric()) for subtask, metric in layout.columns]
    missing = _missing(results)
    several = len({subtask for subtask, _ in columns}) > 1
    headings = [f"{SUBTASK_HEADINGS[subtask]}: {heading(m)}" if several else heading(m) for subtask, m in columns]
    named = [(row.label, row.run) for row in layout.rows if row.run] or [(name, name) for name in results]
    runs = {name: results[name] for _, name in named if name in results}
    rows = {name: _rows(one, {subtask for subtask, _ in columns}) for name, one in runs.items()}
    lines = []
    for label, name in named:
        if name not in rows or not rows[name]:
            continue
        subtasks, cells = {row.subtask for row in rows[name]}, []
        for subtask, m in columns:
            whole = subtask != "all" or subtasks.issuperset(SUBTASKS)
            chosen = [row for row in rows[name] if whole and subtask in (row.subtask, "all")]
            cells.append(format_mean(chosen, m, missing, interval))
        lines.append((label, name, *cells))
    for row in layout.rows:
        if row.figures:
            figures = zip(row.figures, columns, strict=True)
            cells = [NONE if figure is None else format_number(figure, m.digits) for figure, (_, m) in figures]
            lines.append((row.label, QUOTED, *cells))
    notes = [f"{QUOTED}: printed in the paper, measured on its own benchmark, which is not public"]
    notes += [metric.note for metric in {m.column: m for _, m in columns}.values() if metric.note]
    notes += [format_missing(m.label, missing[m.column]) for _, m in columns if m.column in missing]
    notes += [*method_notes(runs), *_fewer_samples(rows)]
    absent = [name for _, name in named if name not in runs]
    notes += [f"not run: {', '.join(absent)}"] if absent else []
    return Table(layout.title, ("row", "run", *headings), tuple(lines), tuple(dict.fromkeys(notes)))


def _rows(one: Results, subtasks: Set[str]) -> list[Row]:
    """A run's rows of some sub-tasks."""
    return [row for row in one.rows.values() if "all" in subtasks or row.subtask in subtasks]


def _missing(results: Mapping[str, Results]) -> dict[str, str]:
    """Metrics without any score, and why they are not available."""
    reasons: dict[str, str] = {}
    for one in results.values():
        reasons |= one.record.get("missing", {})
    scored = {column for one in results.values() for row in one.rows.values() for column in row.scores}
    return {column: reason for column, reason in reasons.items() if column not in scored}
