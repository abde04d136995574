"""Tables of results, and the paper's: what is quoted is marked, what is missing is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from diffcam.benchmark import Results, paper_table, result_tables
from diffcam.benchmark.paper import TABLES
from diffcam.metrics import CLIPI, MAE, SSIM, LVCorr, Row

SUBTASKS = ("refocus", "add_bokeh", "add_bokeh", "remove_bokeh")
LEVELS = (4.0, 5.0, 10.0, 0.0)


def results_of(
    folder: Path,
    name: str,
    mae: float = 0.1,
    columns: tuple[str, ...] = ("mae", "sharpness", "psnr", "ssim"),
    **record: Any,
) -> Results:
    results = Results(folder / name)
    results.open({"edition": {}, "method": name, "order": 0})
    rows = [
        Row(name, n, f"scene{n // 4}", SUBTASKS[n % 4], "camera", LEVELS[n % 4], (0.5, 0.5),
            {c: {"mae": mae, "sharpness": 9 - LEVELS[n % 4], "psnr": 20.0, "ssim": 0.5}[c] for c in columns})
        for n in range(8)
    ]  # fmt: skip
    results.add(rows)
    results.finish(record.pop("missing", {}), record.pop("failures", {}), **record)
    return results


def test_result_tables(tmp_path) -> None:
    results = {
        "ours": results_of(tmp_path, "ours", note="twelve parameters", missing={"clip_i": "no hub"}),
        "rival": results_of(tmp_path, "rival", mae=0.3, failures={7: "the server was not at home"}),
        "absent": results_of(tmp_path, "absent", not_available="no weights file"),
    }
    results["absent"].rows = {}
    first, second = result_tables(results, [MAE(), LVCorr(), CLIPI(), SSIM()], "Test")
    assert first.header == ("sub-task", "method", "samples", "MAE ↓", "LVCorr ↑", "CLIP-I ↑")
    assert ("add bokeh", "ours", "4", "0.100", "1.000", "n/a") in first.rows
    assert ("all", "rival", "8", "0.300", "–", "n/a") in first.rows
    assert first.notes == ("CLIP-I: not available: no hub",)
    assert second.header[-1] == "SSIM ↑"
    assert second.notes == (
        "ours: twelve parameters",
        "rival: 1 sample is missing, 7: the server was not at home",
        "absent: not available: no weights file",
    )


def test_paper_tables_are_complete() -> None:
    for table in TABLES.values():
        assert all(len(row.figures) in (len(table.columns), 0) for row in table.rows), table.title
    assert [len(TABLES[number].rows) for number in "23456"] == [3, 5, 4, 4, 5]


@pytest.mark.parametrize(
    ("table", "row", "line"),
    [
        ("1-refocus", "GPT-4o", "0.859 0.138 0.724"),
        ("1-bokeh", "GPT-4o", "0.792 0.087 – 0.567"),
        ("2", "Restormer", "0.971 0.044 0.674 24.12 0.857"),
        ("3", "ground truth", "0.970 0.000 0.867 0.930 0.000 0.000 ∞"),
        ("4", "w/o depth dropout", "0.960 0.030 0.854 0.868 0.042 0.220 24.17"),
        ("5", "w/o stacking", "0.962 0.030 0.861 0.858 0.041 0.200 24.35"),
        ("6", "random noise", "0.965 0.033 0.835 0.901 0.039 0.180 24.95"),
    ],
)
def test_quoted_figures(table, row, line) -> None:
    """Against the paper's print, by hand."""
    found = next(cells for cells in paper_table(table, {}).rows if cells[0] == row)
    assert found[1] == "(paper)"
    assert " ".join(found[2:]) == line


def test_our_rows_stand_above_quoted_ones(tmp_path) -> None:
    results = {"full": results_of(tmp_path, "full"), "zero-depth": results_of(tmp_path, "zero-depth", mae=0.2)}
    table = paper_table("6", results)
    assert table.header[2:4] == ("all: CLIP-I ↑", "all: MAE ↓")
    assert [cells[:2] for cells in table.rows[:3]] == [("full", "full"), ("0 depth", "zero-depth"), ("full", "(paper)")]
    measured = dict(zip(table.header, table.rows[1], strict=True))
    assert (measured["all: MAE ↓"], measured["add: LVCorr ↑"], measured["remove: PSNR ↑"]) == (
        "0.200",
        "1.000",
        "20.00",
    )
    assert any("measured on its own benchmark" in note for note in table.notes)


def test_every_method_may_stand_in_tables_one_and_two(tmp_path) -> None:
    results = {name: results_of(tmp_path, name) for name in ("ours", "copy")}
    assert [cells[0] for cells in paper_table("2", results).rows] == [
        "ours",
        "copy",
        "GPT-4o",
        "Restormer",
        "DiffCamera",
    ]


def test_paper_tables_list_missing_runs(tmp_path) -> None:
    """Notes of the runs that belong in the table, and of no others."""
    results = {
        "full": results_of(tmp_path, "full", note="a share of 5 %", failures={3: "no answer"}),
        "no-depth": results_of(tmp_path, "no-depth", not_available="it was not trained"),
        "no-stacking": results_of(tmp_path, "no-stacking", note="of table 5"),
    }
    del results["full"].rows[3]
    results["no-depth"].rows = {}
    table = paper_table("4", {**results, "zero-depth": results_of(tmp_path, "zero-depth")})
    assert [cells[1] for cells in table.rows[:3]] == ["full", "zero-depth", "(paper)"]
    assert table.notes[-5:] == (
        "no-depth: not available: it was not trained",
        "full: a share of 5 %",
        "full: 1 sample is missing, 3: no answer",
        "scored on fewer samples than others: full (7 of 8)",
        "not run: no-dropout",
    )
    assert "no-stacking: of table 5" in paper_table("2", results).notes, "every run may stand there"


def test_a_mean_of_all_needs_all_sub_tasks(tmp_path) -> None:
    results = {name: results_of(tmp_path, name) for name in ("full", "no-depth")}
    results["no-depth"].rows = {n: row for n, row in results["no-depth"].rows.items() if row.subtask == "remove_bokeh"}
    table = paper_table("4", results)
    first, second = (dict(zip(table.header, cells, strict=True)) for cells in table.rows[:2])
    assert (first["all: MAE ↓"], first["remove: MAE ↓"]) == ("–", "0.100")
    assert (second["all: MAE ↓"], second["remove: MAE ↓"]) == ("0.100", "0.100")
    first, second = result_tables(results, [MAE(), SSIM()], "Test")
    assert [cells[1] for cells in first.rows if cells[0] == "all"] == ["full"]
    assert not any("fewer" in note for note in second.notes), "the same samples of the sub-task that both have"


def test_fewer_samples_are_named(tmp_path) -> None:
    results = {name: results_of(tmp_path, name) for name in ("copy", "editor")}
    results["editor"].rows = {n: row for n, row in results["editor"].rows.items() if n in (0, 3, 5)}
    table = result_tables(results, [MAE()], "Test")[-1]
    assert table.notes[-1] == "scored on fewer samples than others: editor (3 of 8)"


def test_unavailable_metrics_are_noted(tmp_path) -> None:
    results = {"full": results_of(tmp_path, "full", missing={"lpips": "no index"})}
    table = paper_table("5", results)
    assert dict(zip(table.header, table.rows[0], strict=True))["remove: LPIPS ↓"] == "n/a"
    assert "LPIPS: not available: no index" in table.notes


def test_rows_that_only_we_have_are_not_quoted(tmp_path) -> None:
    rows = paper_table("5", {"reweighting": results_of(tmp_path, "reweighting")}).rows
    assert [cells[:2] for cells in rows] == [
        ("control: weighted flow loss", "reweighting"),
        ("w/o stacking", "(paper)"),
        ("w/ stacking", "(paper)"),
    ]
