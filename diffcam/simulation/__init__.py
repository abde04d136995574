"""Simulation of training data: scenes, what a camera would make of them, and the shards that hold both."""

from diffcam.simulation.layered import LayeredScenes
from diffcam.simulation.textures import PhotoTextures, Textures

__all__ = ["LayeredScenes", "PhotoTextures", "Textures"]
