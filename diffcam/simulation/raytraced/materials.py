"""What things in ray-traced scenes are made of; pictures on them are display values of exponent DISPLAY_GAMMA."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from diffcam.functional.bokeh import DISPLAY_GAMMA


class Material(Protocol):
    """What a surface is made of."""

    def describe(self, mi: Any) -> dict[str, Any]:
        """Entries of a shape's description in Mitsuba."""


def _texture(mi: Any, picture: np.ndarray) -> dict[str, Any]:
    light = (picture.astype(np.float32) / 255) ** DISPLAY_GAMMA
    return {"type": "bitmap", "bitmap": mi.Bitmap(np.ascontiguousarray(light)), "raw": True, "wrap_mode": "mirror"}


@dataclass(frozen=True)
class Matte:
    """A surface that scatters light alike in all directions.

    Args:
        picture: uint8 (h, w, 3), display values.
    """

    picture: np.ndarray

    def describe(self, mi: Any) -> dict[str, Any]:
        """See :class:`Material`."""
        return {"bsdf": {"type": "twosided", "bsdf": {"type": "diffuse", "reflectance": _texture(mi, self.picture)}}}


@dataclass(frozen=True)
class Glossy:
    """A picture under clear varnish, which mirrors the lamp as a highlight.

    Args:
        picture: uint8 (h, w, 3), display values.
        roughness: Width of the highlight, about 0.05 to 0.3.
    """

    picture: np.ndarray
    roughness: float

    def describe(self, mi: Any) -> dict[str, Any]:
        """See :class:`Material`."""
        varnish = {"type": "roughplastic", "alpha": self.roughness, "nonlinear": True}
        return {"bsdf": {"type": "twosided", "bsdf": {**varnish, "diffuse_reflectance": _texture(mi, self.picture)}}}


@dataclass(frozen=True)
class Metal:
    """Brushed metal of one colour.

    Args:
        colour: Reflectance of red, green and blue.
        roughness: As in :class:`Glossy`.
    """

    colour: tuple[float, float, float]
    roughness: float

    def describe(self, mi: Any) -> dict[str, Any]:
        """See :class:`Material`."""
        colour = {"type": "rgb", "value": list(self.colour)}
        metal = {"type": "roughconductor", "material": "none", "specular_reflectance": colour, "alpha": self.roughness}
        return {"bsdf": {"type": "twosided", "bsdf": metal}}


@dataclass(frozen=True)
class Glass:
    """Clear glass; its depth is that of its front."""

    def describe(self, mi: Any) -> dict[str, Any]:
        """See :class:`Material`."""
        return {"bsdf": {"type": "dielectric"}}


@dataclass(frozen=True)
class Lamp:
    """A surface that shines.

    Args:
        radiance: Of red, green and blue.
    """

    radiance: tuple[float, float, float]

    def describe(self, mi: Any) -> dict[str, Any]:
        """See :class:`Material`."""
        return {"emitter": {"type": "area", "radiance": {"type": "rgb", "value": list(self.radiance)}}}
