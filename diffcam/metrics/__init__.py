"""Metrics of the benchmark, a torchmetrics ``Metric`` that keeps their numbers for every sample, and tables."""

from diffcam.metrics.base import MissingWeightsError, SampleMetric
from diffcam.metrics.clip import CLIPI, CLIPIQA
from diffcam.metrics.focus import BlurRadiusError, FocusHit, RelativeBlurError
from diffcam.metrics.level import LVCorr, level_correlation
from diffcam.metrics.lpips import LPIPS
from diffcam.metrics.pixel import MAE, PSNR, SSIM
from diffcam.metrics.regions import Identity, InFocusPSNR, InFocusSSIM, KeptPSNR, OutOfFocusPSNR, OutOfFocusSSIM
from diffcam.metrics.scores import Row, Scores, read_rows, write_rows
from diffcam.metrics.table import Estimate, Table, estimate, subtask_table

__all__ = ["CLIPI", "CLIPIQA", "LPIPS", "MAE", "PSNR", "SSIM", "BlurRadiusError", "Estimate", "FocusHit", "Identity"]
__all__ += ["InFocusPSNR", "InFocusSSIM", "KeptPSNR", "LVCorr", "MissingWeightsError", "OutOfFocusPSNR"]
__all__ += ["OutOfFocusSSIM", "RelativeBlurError", "Row", "SampleMetric", "Scores", "Table", "estimate"]
__all__ += ["level_correlation", "read_rows", "subtask_table", "write_rows"]
