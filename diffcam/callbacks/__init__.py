"""Lightning callbacks: average, export, pictures and scores."""

from diffcam.callbacks.ema import EMA
from diffcam.callbacks.export import ModelExport
from diffcam.callbacks.memory import MemoryCheck
from diffcam.callbacks.metrics import MetricsTable
from diffcam.callbacks.predictions import PredictionWriter
from diffcam.callbacks.samples import SampleGrid

__all__ = ["EMA", "MemoryCheck", "MetricsTable", "ModelExport", "PredictionWriter", "SampleGrid"]
