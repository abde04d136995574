"""Simulation of training data: scenes, what a camera would make of them, and the shards that hold both."""

from diffcam.simulation.jobs.engines import Engine, LocalEngine, RayEngine
from diffcam.simulation.jobs.plan import ShardPlan
from diffcam.simulation.jobs.writer import Rendering, ShardJob, ShardRecord, make_shard
from diffcam.simulation.layered.scenes import LayeredSource
from diffcam.simulation.photographed.all_in_focus import measure_sharpness
from diffcam.simulation.photographed.development import Development
from diffcam.simulation.photographed.disparity_providers import DisparityFolder, DisparityProvider, EstimatedDisparity
from diffcam.simulation.photographed.generated import GeneratedSource
from diffcam.simulation.photographed.source import PhotoSource
from diffcam.simulation.raytraced.source import RaytracedSource
from diffcam.simulation.sources import Source, SourceOptions
from diffcam.simulation.textures.photos import PhotoFolder, Textures
from diffcam.simulation.textures.procedural import ProceduralTextures
from diffcam.simulation.variants import draw_benchmark_samples, draw_variants, full_grid, render_variants

__all__ = [
    "Development",
    "DisparityFolder",
    "DisparityProvider",
    "Engine",
    "EstimatedDisparity",
    "GeneratedSource",
    "LayeredSource",
    "LocalEngine",
    "PhotoFolder",
    "PhotoSource",
    "ProceduralTextures",
    "RayEngine",
    "RaytracedSource",
    "Rendering",
    "ShardJob",
    "ShardPlan",
    "ShardRecord",
    "Source",
    "SourceOptions",
    "Textures",
    "draw_benchmark_samples",
    "draw_variants",
    "full_grid",
    "make_shard",
    "measure_sharpness",
    "render_variants",
]
