"""Simulation of training data: scenes, what a camera would make of them, and the shards that hold both."""

from diffcam.simulation.all_in_focus import AllInFocus
from diffcam.simulation.development import Development
from diffcam.simulation.disparity import load_disparity, normalise_disparity, read_disparity
from diffcam.simulation.disparity_providers import DisparityFolder, DisparityProvider, EstimatedDisparity
from diffcam.simulation.engines import Engine, LocalEngine, RayEngine
from diffcam.simulation.generated import GeneratedSource
from diffcam.simulation.layered import LayeredScenes
from diffcam.simulation.phone import BurstSource
from diffcam.simulation.procedural import ProceduralTextures
from diffcam.simulation.raytraced import RaytracedSource
from diffcam.simulation.sources import LayeredSource, PhotoFolder, PhotoSource, Source
from diffcam.simulation.textures import PhotoTextures, Textures
from diffcam.simulation.variants import draw_benchmark_samples, draw_variants, full_grid, render_variants
from diffcam.simulation.writer import Rendering, ShardJob, ShardRecord, make_shard

__all__ = [
    "AllInFocus",
    "BurstSource",
    "Development",
    "DisparityFolder",
    "DisparityProvider",
    "Engine",
    "EstimatedDisparity",
    "GeneratedSource",
    "LayeredScenes",
    "LayeredSource",
    "LocalEngine",
    "PhotoFolder",
    "PhotoSource",
    "PhotoTextures",
    "ProceduralTextures",
    "RayEngine",
    "RaytracedSource",
    "Rendering",
    "ShardJob",
    "ShardRecord",
    "Source",
    "Textures",
    "draw_benchmark_samples",
    "draw_variants",
    "full_grid",
    "load_disparity",
    "make_shard",
    "normalise_disparity",
    "read_disparity",
    "render_variants",
]
