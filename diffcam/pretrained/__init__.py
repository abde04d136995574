"""Models that others trained: depth estimators, BokehMe, text to image, and the hub they come from."""

from diffcam.pretrained.bokehme import BokehMe
from diffcam.pretrained.depth import DepthAnything, DepthEstimator
from diffcam.pretrained.hub import local_folder
from diffcam.pretrained.text_to_image import FluxPhotographer

__all__ = ["BokehMe", "DepthAnything", "DepthEstimator", "FluxPhotographer", "local_folder"]
