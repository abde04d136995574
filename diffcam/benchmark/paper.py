"""The paper's printed tables, figure by figure, and which of our runs each row compares with."""

from __future__ import annotations

from dataclasses import dataclass

from diffcam.metrics import CLIPI, CLIPIQA, LPIPS, MAE, PSNR, LVCorr, SampleMetric


@dataclass(frozen=True)
class Quoted:
    """A row as the paper prints it.

    Args:
        label: Its name in the paper.
        figures: One for each column; None where the paper prints none; empty for a row that the paper lacks.
        run: Name of the corresponding run of ours in an ablation table; "" where every run compares.
    """

    label: str
    figures: tuple[float | None, ...]
    run: str = ""


@dataclass(frozen=True)
class PaperTable:
    """A table of the paper.

    Args:
        columns: Sub-task (or ``all``) and metric of each column.
    """

    title: str
    columns: tuple[tuple[str, type[SampleMetric]], ...]
    rows: tuple[Quoted, ...]


_ABLATION_COLUMNS: tuple[tuple[str, type[SampleMetric]], ...] = (
    ("all", CLIPI),
    ("all", MAE),
    ("all", CLIPIQA),
    ("add_bokeh", LVCorr),
    ("remove_bokeh", MAE),
    ("remove_bokeh", LPIPS),
    ("remove_bokeh", PSNR),
)
"""Columns of tables 3 to 6."""

_FULL = (0.966, 0.029, 0.863, 0.920, 0.037, 0.176, 25.200)
"""The paper's full model, a row of tables 3 to 6."""

_ZERO_DEPTH = (0.966, 0.032, 0.854, 0.878, 0.037, 0.176, 25.219)
"""The full model given no depth, a row of tables 4 and 6."""

TABLES: dict[str, PaperTable] = {
    "1-refocus": PaperTable(
        "Refocus (paper, table 1)",
        (("refocus", CLIPI), ("refocus", MAE), ("refocus", CLIPIQA)),
        (Quoted("GPT-4o", (0.859, 0.138, 0.724)), Quoted("DiffCamera", (0.954, 0.025, 0.834))),
    ),
    "1-bokeh": PaperTable(
        "Add bokeh (paper, table 1)",
        (("add_bokeh", CLIPI), ("add_bokeh", MAE), ("add_bokeh", LVCorr), ("add_bokeh", CLIPIQA)),
        (Quoted("GPT-4o", (0.792, 0.087, None, 0.567)), Quoted("DiffCamera", (0.969, 0.022, 0.920, 0.857))),
    ),
    "2": PaperTable(
        "Remove bokeh (paper, table 2)",
        tuple(("remove_bokeh", metric) for metric in (CLIPI, MAE, LPIPS, PSNR, CLIPIQA)),
        (
            Quoted("GPT-4o", (0.939, 0.149, 0.583, 13.736, 0.611)),
            Quoted("Restormer", (0.971, 0.044, 0.674, 24.120, 0.857)),
            Quoted("DiffCamera", (0.970, 0.037, 0.176, 25.200, 0.883)),
        ),
    ),
    "3": PaperTable(
        "Training data (paper, table 3)",
        _ABLATION_COLUMNS,
        (
            Quoted("ground truth", (0.970, 0.0, 0.867, 0.93, 0.0, 0.0, float("inf")), "ground-truth"),
            Quoted("only photo", (0.953, 0.034, 0.842, 0.781, 0.042, 0.220, 24.283), "only-photo"),
            Quoted("only AI-synthesized", (0.961, 0.032, 0.861, 0.856, 0.043, 0.219, 23.891), "only-ai"),
            Quoted("all data, w/o balancing", (0.961, 0.035, 0.852, 0.824, 0.042, 0.211, 24.105), "no-balancing"),
            Quoted("all data, w/ balancing", _FULL, "full"),
        ),
    ),
    "4": PaperTable(
        "Depth dropout (paper, table 4)",
        _ABLATION_COLUMNS,
        (
            Quoted("w/o depth", (0.965, 0.033, 0.850, 0.852, 0.041, 0.205, 24.351), "no-depth"),
            Quoted("w/o depth dropout", (0.960, 0.030, 0.854, 0.868, 0.042, 0.220, 24.167), "no-dropout"),
            Quoted("w/ depth dropout", _FULL, "full"),
            Quoted("w/ depth dropout, 0 depth", _ZERO_DEPTH, "zero-depth"),
        ),
    ),
    "5": PaperTable(
        "Stacking constraint (paper, table 5)",
        _ABLATION_COLUMNS,
        (
            Quoted("w/o stacking", (0.962, 0.030, 0.861, 0.858, 0.041, 0.200, 24.350), "no-stacking"),
            Quoted("w/ stacking", _FULL, "full"),
            Quoted("w/ stacking, masks of 8 pixels", (), "coarse-stacking"),
            Quoted("control: weighted flow loss", (), "reweighting"),
        ),
    ),
    "6": PaperTable(
        "Imperfect depth maps (paper, table 6)",
        _ABLATION_COLUMNS,
        (
            Quoted("full", _FULL, "full"),
            Quoted("0 depth", _ZERO_DEPTH, "zero-depth"),
            Quoted("random masking", (0.965, 0.029, 0.852, 0.916, 0.037, 0.177, 25.191), "masked-depth"),
            Quoted("random cropping", (0.966, 0.029, 0.856, 0.920, 0.037, 0.176, 25.197), "cropped-depth"),
            Quoted("random noise", (0.965, 0.033, 0.835, 0.901, 0.039, 0.180, 24.946), "noisy-depth"),
        ),
    ),
}
"""Tables by number; table 1 holds two sub-tasks and is split in two parts."""
