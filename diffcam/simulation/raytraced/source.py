"""Ray-traced scenes: pinhole images with exact disparity, and true pictures through a thin lens as their renditions."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from importlib.metadata import version
from typing import Any

import numpy as np
import torch
from torch import Tensor

from diffcam.camera import ThinLens
from diffcam.data.randomness import derived_generator
from diffcam.data.schema import Scene
from diffcam.functional.bokeh import DISPLAY_GAMMA
from diffcam.simulation.draws import Draws
from diffcam.simulation.raytraced.raytracer import RayTracer
from diffcam.simulation.raytraced.staging import draw_staging
from diffcam.simulation.textures.photos import Textures
from diffcam.simulation.variants import MANIFEST_NUMBERS, Renditions, draw_renditions

SENSOR = 24.0
"""Millimetres of the sensor's short side, for the record: in pictures only its ratio to the image distance counts."""


@dataclass(frozen=True)
class DepthRange:
    """Between which depths a scene's disparity runs: 1 at ``near``, 0 at ``far``, both in metres."""

    near: float
    far: float

    @classmethod
    def of(cls, depth_HW: np.ndarray) -> DepthRange:
        """The least and the greatest depth in view."""
        return cls(float(depth_HW.min()), float(depth_HW.max()))

    def disparity(self, depth_HW: np.ndarray) -> Tensor:
        """Inverse depth scaled to [0, 1], ``(1, H, W)`` float32."""
        inverse = 1 / depth_HW.astype(np.float64)
        disparity = (inverse - 1 / self.far) / (1 / self.near - 1 / self.far)
        return torch.from_numpy(disparity.astype(np.float32))[None].clamp(0, 1)

    def lens(self, bokeh: float, focus_disparity: float, framing: float) -> ThinLens:
        """The lens whose pictures have this level and focus, see :meth:`ThinLens.of_bokeh`."""
        return ThinLens.of_bokeh(bokeh, focus_disparity, self.near, self.far, framing * SENSOR, SENSOR)


def exposure(light_HW3: np.ndarray) -> float:
    """The factor that leaves 3 % of a picture's pixels brighter than 0.85 in linear light: lamps and gloss clip."""
    return 0.85 / max(float(np.quantile(light_HW3.mean(-1), 0.97)), 1e-6)


def develop(light_HW3: np.ndarray) -> Tensor:
    """Linear light as display values, clipped as a sensor clips; ``(3, H, W)``."""
    return torch.from_numpy(light_HW3).permute(2, 0, 1).clamp(0, 1) ** (1 / DISPLAY_GAMMA)


@dataclass(frozen=True)
class RaytracedSource:
    """Ray-traced scenes, as many as asked for; scene ``i`` depends on the other settings and i alone.

    Args:
        textures: Where surfaces come from: :class:`PhotoFolder` or :class:`ProceduralTextures`.
        tracer: Variant of Mitsuba, see :func:`choose_variant`; scenes of different ones differ in their noise.
        size: Height and width in pixels.
        seed: Names the sequence.
        renditions: Lens pictures of a scene.
        samples: Rays a pixel.
    """

    textures: Textures
    count: int
    tracer: str
    _: KW_ONLY
    size: tuple[int, int] = (512, 512)
    seed: int = 0
    renditions: Renditions = 0
    samples: int = 64

    def __len__(self) -> int:
        return self.count

    def scene(self, index: int) -> Scene:
        """Scene ``index`` with its lens pictures."""
        staging = draw_staging(Draws("raytraced", self.seed, index), self.textures, self.size)
        tracer, view = RayTracer(staging.parts, staging.sky, self.tracer), staging.view
        depth, light = tracer.depth(view), tracer.photograph(view, None, self.samples, seed=0)
        between, scale = DepthRange.of(depth), exposure(light)
        placed = {"near": between.near, "far": between.far, "framing": view.framing}
        scene = Scene(
            key=f"{index:06d}",
            image=develop(light * scale),
            disparity=between.disparity(depth),
            source="raytraced",
            kind="ai",
            metadata={"seed": self.seed, "index": index, "samples": self.samples, **placed},
        )
        variants = []
        drawn = draw_renditions(scene, self.renditions, derived_generator("variants", self.seed, index))
        for number, variant in enumerate(drawn):
            lens = between.lens(variant.camera.bokeh, variant.focus_disparity, view.framing)
            picture = develop(tracer.photograph(view, lens, self.samples, seed=number + 1) * scale)
            variants.append(replace(variant, image=picture))
        return replace(scene, variants=tuple(variants))

    def describe(self) -> dict[str, Any]:
        """Textures, settings and the ray tracer's version; not the count, so that a run can be continued."""
        settings = {"type": "raytraced", "size": list(self.size), "seed": self.seed, "samples": self.samples}
        number = MANIFEST_NUMBERS.get(self.renditions, self.renditions)
        settings |= {"renditions": number, "tracer": self.tracer, "mitsuba": version("mitsuba")}
        return settings | self.textures.describe()
