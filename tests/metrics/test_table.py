"""Tables: means, intervals against scipy's bootstrap, and every word and number that they print."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from diffcam.metrics import LPIPS, MAE, PSNR, LVCorr, Row, Table, estimate, subtask_table
from diffcam.metrics.table import format_mean, format_number


def row(scene: str, subtask: str = "refocus", level: float = 1.0, method: str = "model", **scores: float) -> Row:
    return Row(method, 0, scene, subtask, "camera", level, (0.5, 0.5), scores)


def test_mean_over_samples_and_number_of_scenes() -> None:
    found = estimate([row("a", mae=0.1), row("a", mae=0.3), row("b", mae=0.8), row("c", mae=math.nan)], MAE())
    assert found.value == pytest.approx(0.4)
    assert found.scenes == 2, "scene c has no number"


def test_interval_against_scipy() -> None:
    generator = np.random.default_rng(5)
    values = generator.gamma(2.0, size=40)
    found = estimate([row(str(i), mae=value) for i, value in enumerate(values)], MAE())
    expected = stats.bootstrap((values,), np.mean, n_resamples=20000, method="percentile", rng=1).confidence_interval
    width = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=0.08 * width)
    assert found.high == pytest.approx(expected.high, abs=0.08 * width)


def test_interval_draws_scenes_not_samples() -> None:
    """Ten equal samples of a scene are no more certain than one."""
    once = [row(str(i), mae=float(i % 7)) for i in range(20)]
    assert estimate(once * 10, MAE()) == estimate(once, MAE())


def test_correlation_is_averaged_over_scenes() -> None:
    rows = [row("follows", level=level, sharpness=10 - level) for level in (1, 2, 4)]
    rows += [row("opposes", level=level, sharpness=10 + level) for level in (1, 2, 4)]
    assert estimate(rows[:3], LVCorr()).value == pytest.approx(1)
    assert estimate(rows, LVCorr()).value == pytest.approx(0)


def test_infinite_and_nothing() -> None:
    assert estimate([row("a", psnr=math.inf), row("b", psnr=30.0)], PSNR()).value == math.inf
    assert math.isnan(estimate([], PSNR()).value)
    assert math.isnan(estimate([row("a", mae=1.0)], PSNR()).value), "rows without the column"


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [(0.0289, 3, "0.029"), (25.2, 2, "25.20"), (math.inf, 2, "∞"), (-math.inf, 2, "-∞"), (math.nan, 3, "–")],
)
def test_numbers(value, digits, text) -> None:
    assert format_number(value, digits) == text


def test_intervals_are_printed_only_where_they_have_a_width() -> None:
    rows = [row("a", mae=0.1), row("b", mae=0.3)]
    assert format_mean(rows, MAE(), {}, interval=True) == "0.200 [0.100, 0.300]"
    assert format_mean(rows, MAE(), {}, interval=False) == "0.200"
    assert format_mean(rows[:1], MAE(), {}, interval=True) == "0.100"
    assert format_mean(rows, MAE(), {"mae": "no weights"}, interval=True) == "n/a"


def test_subtask_table() -> None:
    rows = [row("a", "add_bokeh", level, sharpness=9 - level, mae=0.1) for level in (1, 2)]
    rows += [row("a", "remove_bokeh", sharpness=1.0, mae=0.3)]
    table = subtask_table(rows, [MAE(), LPIPS(), LVCorr()], {"lpips": "no index"}, "Test")
    assert table.header == ("sub-task", "method", "samples", "MAE ↓", "LPIPS ↓", "LVCorr ↑")
    assert table.rows == (
        ("add bokeh", "model", "2", "0.100", "n/a", "1.000"),
        ("remove bokeh", "model", "1", "0.300", "n/a", "–"),
        ("all", "model", "3", "0.167", "n/a", "–"),
    )
    assert table.notes == ("LPIPS: not available: no index",)


def test_a_row_of_all_is_a_mean_over_all_sub_tasks() -> None:
    """Else a method that only removes bokeh would stand beside those that also add it."""
    whole = [row("a", subtask, mae=0.1) for subtask in ("refocus", "remove_bokeh")]
    part = [row("a", "remove_bokeh", method="deblur", mae=0.2)]
    cells = subtask_table([*whole, *part], [MAE()], {}, "Test").rows
    assert [line[:2] for line in cells] == [
        ("refocus", "model"),
        ("remove bokeh", "model"),
        ("remove bokeh", "deblur"),
        ("all", "model"),
    ]


def test_notes_name_the_backbone() -> None:
    assert "AlexNet" in subtask_table([row("a", lpips=0.1)], [LPIPS()], {}, "Test").notes[0]


TABLE = Table("Title", ("a", "b", "x ↓"), (("1", "2_3", "∞"), ("long", "4", "–")), ("50 % of it",))


def test_text() -> None:
    lines = TABLE.text().splitlines()
    assert lines[2] == "a     b    x ↓"
    assert lines[4] == "1     2_3    ∞"
    assert lines[5] == "long  4      –"
    assert lines[-1] == "50 % of it"


def test_markdown() -> None:
    assert TABLE.markdown() == (
        "**Title**\n\n| a | b | x ↓ |\n| --- | --- | ---: |\n| 1 | 2_3 | ∞ |\n| long | 4 | – |\n\n- 50 % of it\n"
    )


def test_latex() -> None:
    lines = TABLE.latex().splitlines()
    assert lines[1] == r"\begin{tabular}{llr}"
    assert lines[3] == r"a & b & x $\downarrow$ \\"
    assert lines[5:7] == [r"1 & 2\_3 & $\infty$ \\", r"long & 4 & -- \\"]
