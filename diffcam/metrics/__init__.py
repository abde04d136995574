"""Metrics of the benchmark as torchmetrics' ``Metric``, per-sample rows, and the tables made of them."""

from diffcam.metrics.base import MissingWeightsError, SampleMetric
from diffcam.metrics.clip import CLIPI, CLIPIQA
from diffcam.metrics.focus import BlurRadiusError, FocusHit, RelativeBlurError
from diffcam.metrics.level import LVCorr, level_correlation
from diffcam.metrics.lpips import LPIPS
from diffcam.metrics.pixel import MAE, PSNR, SSIM
from diffcam.metrics.regions import Identity, InFocusPSNR, InFocusSSIM, KeptPSNR, OutOfFocusPSNR, OutOfFocusSSIM
from diffcam.metrics.scores import Comparison, Row, Scorer, read_rows, unique_rows, write_rows
from diffcam.metrics.table import Estimate, Table, estimate, subtask_table

__all__ = [
    "CLIPI",
    "CLIPIQA",
    "LPIPS",
    "MAE",
    "PSNR",
    "SSIM",
    "BlurRadiusError",
    "Comparison",
    "Estimate",
    "FocusHit",
    "Identity",
    "InFocusPSNR",
    "InFocusSSIM",
    "KeptPSNR",
    "LVCorr",
    "MissingWeightsError",
    "OutOfFocusPSNR",
    "OutOfFocusSSIM",
    "RelativeBlurError",
    "Row",
    "SampleMetric",
    "Scorer",
    "Table",
    "estimate",
    "level_correlation",
    "read_rows",
    "subtask_table",
    "unique_rows",
    "write_rows",
]
