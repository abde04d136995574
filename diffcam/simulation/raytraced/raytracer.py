"""Ray tracing with Mitsuba: what is in a scene, and pinhole images, thin-lens images and exact depth of it.

World coordinates are metres: x to the right, y up, and the camera at the origin looks along -z, so that depth is -z.
Light is linear.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from diffcam.camera import ThinLens
from diffcam.errors import DiffcamError
from diffcam.simulation.draws import Draws
from diffcam.simulation.raytraced.materials import Material, with_textures

RAYS = 2**22
"""Rays traced at a time, which bounds the memory."""

BOUNCES = 4
"""Enough to go in and out of glass and see a lit surface behind it."""

DEPTH_SAMPLES = 4
"""Depth is the median of this many times as many rows and columns of rays."""

FARTHEST = 1e5
"""Metres; stands for an infinite focus distance."""


def choose_variant() -> str:
    """The fastest variant of Mitsuba that is known to run here.

    ``llvm_ad_rgb`` needs the LLVM library, and some versions of it end the process; so it is taken where the user has
    named one in ``DRJIT_LIBLLVM_PATH``, and the slower ``scalar_rgb``, which needs nothing, otherwise.

    Raises:
        DiffcamError: If Mitsuba is not installed, or cannot use the library.
    """
    try:
        import mitsuba
    except ImportError as error:
        raise DiffcamError("ray-traced scenes need the package mitsuba: pip install 'diffcam[raytrace]'") from error
    library = os.environ.get("DRJIT_LIBLLVM_PATH")
    if not library:
        return "scalar_rgb"
    try:
        mitsuba.set_variant("llvm_ad_rgb")
    except ImportError as error:
        raise DiffcamError(f"DRJIT_LIBLLVM_PATH={library}: Mitsuba cannot use it; name another LLVM or none") from error
    return "llvm_ad_rgb"


@dataclass(frozen=True)
class Ball:
    """A sphere."""

    centre: tuple[float, float, float]
    radius: float

    def build(self, mi: Any, material: Material) -> Any:
        """What Mitsuba loads."""
        return {"type": "sphere", "center": list(self.centre), "radius": self.radius, **with_textures(mi, material)}


@dataclass(frozen=True)
class Mesh:
    """Triangles.

    Args:
        vertices: float (V, 3).
        faces: int (F, 3), indices of vertices.
        places: float (V, 2), of the vertices in the picture, from its top left corner; it is mirrored outside [0, 1].
    """

    vertices: np.ndarray
    faces: np.ndarray
    places: np.ndarray

    def build(self, mi: Any, material: Material) -> Any:
        """What Mitsuba loads."""
        properties = mi.Properties()
        for name, entry in with_textures(mi, material).items():
            properties[name] = mi.load_dict(entry)
        mesh = mi.Mesh("mesh", len(self.vertices), len(self.faces), has_vertex_texcoords=True, props=properties)
        content = mi.traverse(mesh)
        content["vertex_positions"] = np.ravel(self.vertices).astype(np.float32)
        content["faces"] = np.ravel(self.faces).astype(np.uint32)
        content["vertex_texcoords"] = np.ravel(self.places).astype(np.float32)
        content.update()
        return mesh


@dataclass(frozen=True)
class Part:
    """A thing in a scene."""

    shape: Ball | Mesh
    material: Material


@dataclass(frozen=True)
class View:
    """The camera's frame.

    Args:
        size: Height and width in pixels.
        framing: Image distance over the sensor's short side, that is ``1 / (2 tan(angle of view / 2))``.
    """

    size: tuple[int, int]
    framing: float


class RayTracer:
    """A scene, loaded.

    Args:
        sky: Radiance that comes from everywhere.
        variant: Of Mitsuba, see :func:`choose_variant`; pictures of different variants differ in their noise.
    """

    def __init__(self, parts: Sequence[Part], sky: float, variant: str) -> None:
        import mitsuba

        self._variant, self._mi = variant, cast(Any, mitsuba)
        self._prepare()
        shapes = {f"part{number:04d}": part.shape.build(mitsuba, part.material) for number, part in enumerate(parts)}
        light = {"type": "constant", "radiance": {"type": "rgb", "value": sky}}
        self._scene = mitsuba.load_dict({"type": "scene", "sky": light, **shapes})

    def _prepare(self) -> None:
        """Choose the variant, which is a setting of the whole process; one thread, so that sums have one order."""
        import drjit

        self._mi.set_variant(self._variant)
        self._mi.set_log_level(self._mi.LogLevel.Error)
        drjit.set_thread_count(1)

    def photograph(self, view: View, lens: ThinLens | None, samples: int, seed: int) -> np.ndarray:
        """Linear light of a picture, float32 (H, W, 3).

        Args:
            lens: Opening and focus; its own framing is not looked at. None is a pinhole.
            samples: Rays a pixel.
        """
        self._prepare()
        sensor = self._sensor(view, lens, "multijitter")
        path = self._mi.load_dict({"type": "path", "max_depth": BOUNCES, "block_size": 32})
        at_once = max(1, min(samples, RAYS // math.prod(view.size)))
        draws, total = Draws("rays", seed), np.zeros((*view.size, 3))
        rounds = math.ceil(samples / at_once)
        for _ in range(rounds):
            seed = draws.integer(0, 2**31 - 1)
            total += np.asarray(self._mi.render(self._scene, sensor=sensor, integrator=path, spp=at_once, seed=seed))
        return (total / rounds).astype(np.float32)

    def depth(self, view: View) -> np.ndarray:
        """Depth of the nearest surface in metres, float32 (H, W); of a pixel that two share, the larger part's."""
        self._prepare()
        fine = View((view.size[0] * DEPTH_SAMPLES, view.size[1] * DEPTH_SAMPLES), view.framing)
        positions = self._mi.load_dict({"type": "aov", "aovs": "position:position", "block_size": 32})
        sensor = self._sensor(fine, None, "independent")
        found = np.asarray(self._mi.render(self._scene, sensor=sensor, integrator=positions, spp=1, seed=0))
        z = -found[..., -1].reshape(view.size[0], DEPTH_SAMPLES, view.size[1], DEPTH_SAMPLES)
        z = np.sort(z.swapaxes(1, 2).reshape(*view.size, -1), axis=-1)[..., DEPTH_SAMPLES**2 // 2]
        if not (z > 0).all():
            raise DiffcamError("a ray-traced scene must fill its frame: some rays meet nothing")
        return z.astype(np.float32)

    def _sensor(self, view: View, lens: ThinLens | None, sampler: str) -> Any:
        forward = self._mi.ScalarTransform4f().look_at(origin=[0, 0, 0], target=[0, 0, -1], up=[0, 1, 0])
        film = {"type": "hdrfilm", "height": view.size[0], "width": view.size[1], "rfilter": {"type": "box"}}
        description = {
            "type": "perspective",
            "fov": math.degrees(2 * math.atan(0.5 / view.framing)),
            "fov_axis": "smaller",
            "to_world": forward,
            "near_clip": 1e-3,
            "far_clip": 2 * FARTHEST,
            "sampler": {"type": sampler},
            "film": {**film, "pixel_format": "rgb", "component_format": "float32"},
        }
        if lens is not None:
            description |= {"type": "thinlens", "aperture_radius": lens.aperture_radius}
            description["focus_distance"] = min(lens.focus_distance, FARTHEST)
        return self._mi.load_dict(description)
