"""Simulation of training data: scenes, what a camera would make of them, and the shards that hold both."""

from diffcam.simulation.jobs.engines import Engine, LocalEngine, RayEngine
from diffcam.simulation.jobs.plan import ShardPlan
from diffcam.simulation.jobs.writer import Rendering, ShardJob, ShardRecord, make_shard
from diffcam.simulation.layered.scenes import LayeredSource
from diffcam.simulation.sources import Source, SourceOptions
from diffcam.simulation.textures.photos import PhotoFolder
from diffcam.simulation.textures.procedural import ProceduralTextures

__all__ = ["Engine", "LayeredSource", "LocalEngine", "PhotoFolder", "ProceduralTextures", "RayEngine", "Rendering"]
__all__ += ["ShardJob", "ShardPlan", "ShardRecord", "Source", "SourceOptions", "make_shard"]
