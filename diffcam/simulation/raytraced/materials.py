"""What things in ray-traced scenes are made of; pictures on them are display values of exponent DISPLAY_GAMMA."""

from __future__ import annotations

from typing import Any

import numpy as np

from diffcam.functional.bokeh import DISPLAY_GAMMA

Material = dict[str, Any]
"""Entries of a shape's description in Mitsuba, where pictures, uint8 (h, w, 3) display values, stand for textures."""

GLASS: Material = {"bsdf": {"type": "dielectric"}}
"""Clear glass; its depth is that of its front."""


def matte(picture: np.ndarray) -> Material:
    """A picture on a surface that scatters light alike in all directions."""
    return _twosided({"type": "diffuse", "reflectance": picture})


def glossy(picture: np.ndarray, roughness: float) -> Material:
    """A picture under clear varnish, which mirrors the lamp as a highlight of a width of about 0.05 to 0.3."""
    varnish = {"type": "roughplastic", "alpha": roughness, "nonlinear": True}
    return _twosided({**varnish, "diffuse_reflectance": picture})


def metal(colour: tuple[float, float, float], roughness: float) -> Material:
    """Brushed metal that reflects a share of red, green and blue; roughness as in :func:`glossy`."""
    reflectance = {"type": "rgb", "value": list(colour)}
    shine = {"type": "roughconductor", "material": "none", "specular_reflectance": reflectance, "alpha": roughness}
    return _twosided(shine)


def lamp(radiance: tuple[float, float, float]) -> Material:
    """A surface that shines with a radiance of red, green and blue."""
    return {"emitter": {"type": "area", "radiance": {"type": "rgb", "value": list(radiance)}}}


def _twosided(scattering: dict[str, Any]) -> Material:
    return {"bsdf": {"type": "twosided", "bsdf": scattering}}


def with_textures(mi: Any, entry: Any) -> Any:
    """A material, or a part of one, as Mitsuba reads it: linear textures in place of pictures."""
    if isinstance(entry, dict):
        return {name: with_textures(mi, value) for name, value in entry.items()}
    if not isinstance(entry, np.ndarray):
        return entry
    light = (entry.astype(np.float32) / 255) ** DISPLAY_GAMMA
    return {"type": "bitmap", "bitmap": mi.Bitmap(np.ascontiguousarray(light)), "raw": True, "wrap_mode": "mirror"}
