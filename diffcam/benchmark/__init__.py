"""The benchmark: editions of samples, the methods that are compared on them, and the tables."""

from diffcam.benchmark.analysis import ErrorProfile, edge_distance, error_by_edge_distance, worst_samples
from diffcam.benchmark.deblurring import LayeredDeconvolution, OracleDeconvolution, Restoration, RichardsonLucy, Wiener
from diffcam.benchmark.edition import Edition
from diffcam.benchmark.external import External
from diffcam.benchmark.grids import level_sweep, sample_grid, write_grids
from diffcam.benchmark.image_editing import ImageEditing
from diffcam.benchmark.methods import (
    Copy,
    DepthRenderer,
    GroundTruth,
    ImperfectDepth,
    Method,
    NotAvailableError,
    Refocuser,
)
from diffcam.benchmark.results import Results, read_results
from diffcam.benchmark.run import run_method
from diffcam.benchmark.tables import paper_table, result_tables
from diffcam.benchmark.two_stage import Deblur, DeblurOnly, Restormer, SingleKernel, TwoStage

__all__ = ["Copy", "Deblur", "DeblurOnly", "DepthRenderer", "Edition", "ErrorProfile", "External", "GroundTruth"]
__all__ += ["ImageEditing", "ImperfectDepth", "LayeredDeconvolution", "Method", "NotAvailableError"]
__all__ += ["OracleDeconvolution", "Refocuser", "Restoration", "Restormer", "Results", "RichardsonLucy"]
__all__ += ["SingleKernel", "TwoStage", "Wiener", "edge_distance", "error_by_edge_distance", "level_sweep"]
__all__ += ["paper_table", "read_results", "result_tables", "run_method", "sample_grid", "worst_samples"]
__all__ += ["write_grids"]
