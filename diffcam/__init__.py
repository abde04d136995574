"""Arbitrary refocusing of photographs: simulation, training, benchmark and inference."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from diffcam.camera import Aperture, Camera, ThinLens
from diffcam.errors import DiffcamError

if TYPE_CHECKING:
    from diffcam.kernels import render_bokeh
    from diffcam.pipeline import RefocusPipeline
    from diffcam.session import PhotoSession

__version__ = "0.2.0"

__all__ = ["Aperture", "Camera", "DiffcamError", "PhotoSession", "RefocusPipeline", "ThinLens"]
__all__ += ["__version__", "render_bokeh"]

_LAZY = {"PhotoSession": "session", "RefocusPipeline": "pipeline", "render_bokeh": "kernels"}


def __getattr__(name: str) -> Any:
    """Import what is heavy when it is first asked for."""
    if name in _LAZY:
        return getattr(importlib.import_module(f"diffcam.{_LAZY[name]}"), name)
    raise AttributeError(f"module 'diffcam' has no attribute {name!r}")
