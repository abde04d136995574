"""The camera: the one place that knows the units of focus, bokeh level and aperture."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

REFERENCE_SHORT_SIDE = 512
"""Bokeh levels are radii in pixels of an image whose short side is this long (paper, section 3.1)."""

MILLIMETRES = 1000.0
"""In a metre."""

MAX_BOKEH = 64.0
"""Largest level that is accepted: this project's bound on what rendering may cost, 3.2 times the paper's largest."""

LEVEL_SCALE = 20.0
"""The largest simulated level: the camera token sees level / 20 (paper, appendix D)."""


def reference_scale(height: int, width: int) -> float:
    """Size of an image over that of one with a 512-pixel short side, in whose pixels levels are given."""
    return min(height, width) / REFERENCE_SHORT_SIDE


@dataclass(frozen=True)
class Aperture:
    """Shape of the lens opening, that is of an out-of-focus highlight.

    Args:
        blades: 0 for a round opening, otherwise the number of polygon edges, 3 to 16.
        rotation: Rotation of the polygon in radians.
        cat_eye: 0 to 1; how far the opening is clipped by the barrel at the image corners.

    Raises:
        ValueError: If a field is outside its range.

    Examples:
        >>> Aperture(blades=6, rotation=0.2)
        Aperture(blades=6, rotation=0.2, cat_eye=0.0)
    """

    blades: int = 0
    rotation: float = 0.0
    cat_eye: float = 0.0

    def __post_init__(self) -> None:
        if self.blades != 0 and not 3 <= self.blades <= 16:
            raise ValueError(f"aperture blades must be 0 (round) or 3 to 16, got {self.blades}")
        if not math.isfinite(self.rotation):
            raise ValueError(f"aperture rotation must be finite, got {self.rotation}")
        if not 0.0 <= self.cat_eye <= 1.0:
            raise ValueError(f"aperture cat_eye must lie in [0, 1], got {self.cat_eye}")

    def mirrored(self) -> Aperture:
        """The opening as it is in a picture mirrored left to right."""
        return replace(self, rotation=math.pi - self.rotation) if self.blades else self


@dataclass(frozen=True)
class Camera:
    """What a photographer asks for: where to focus and how much to blur.

    Args:
        focus: Fractions of width and height from the top left corner, each in [0, 1].
        bokeh: Bokeh level b of paper eq. 7 (``radius = b |d - d_f|``): a radius in pixels per unit of
            disparity at a 512-pixel short side, 0 (all in focus) to 64.
        aperture: Shape of the opening.

    Raises:
        ValueError: If a number is not finite or outside its range.

    Examples:
        >>> camera = Camera(focus=(0.42, 0.61), bokeh=12)
        >>> camera.focus, camera.bokeh
        ((0.42, 0.61), 12.0)
        >>> Camera(focus=(0.42, 1.61), bokeh=12)
        Traceback (most recent call last):
        ValueError: focus must lie inside the image: fractions in [0, 1], got (0.42, 1.61)
    """

    focus: tuple[float, float]
    bokeh: float
    aperture: Aperture = field(default_factory=Aperture)

    def __post_init__(self) -> None:
        if len(self.focus) != 2:
            raise ValueError(f"focus must be two numbers (x, y), got {self.focus!r}")
        x, y = (float(value) for value in self.focus)
        if not (math.isfinite(x) and math.isfinite(y) and 0.0 <= x <= 1.0 and 0.0 <= y <= 1.0):
            raise ValueError(f"focus must lie inside the image: fractions in [0, 1], got ({x:g}, {y:g})")
        bokeh = float(self.bokeh)
        if not (math.isfinite(bokeh) and 0.0 <= bokeh <= MAX_BOKEH):
            raise ValueError(f"bokeh must lie in [0, {MAX_BOKEH:g}], got {bokeh:g}")
        object.__setattr__(self, "focus", (x, y))
        object.__setattr__(self, "bokeh", bokeh)

    def radius_per_disparity(self, height: int, width: int) -> float:
        """Blur radius in pixels of an image of this size, per unit of disparity."""
        return self.bokeh * reference_scale(height, width)


@dataclass(frozen=True)
class ThinLens:
    """A photographic lens, and what its f-number and distances are as bokeh level and focus disparity.

    The opening has the radius ``a = f / (2 N)`` and the sensor lies ``v`` behind it, ``1/f = 1/s + 1/v``. By similar
    triangles a point at depth z leaves a disc of radius ``v a |1/z - 1/s|`` on the sensor: linear in inverse depth.
    With disparity ``d = (1/z - 1/far) / (1/near - 1/far)`` that is ``b |d - d_f|`` (paper eq. 7), where, for a sensor
    whose short side h has 512 pixels, ``b = 512 (v / h) a (1/near - 1/far)`` and ``d_f`` is the disparity of depth s.

    Args:
        focal_length: f in millimetres.
        f_number: N.
        focus_distance: s in metres from the lens; may be infinite.
        sensor_short_side: h in millimetres; the default is that of a full-frame camera.

    Raises:
        ValueError: If a number is not positive or the focus is nearer than the focal length.

    Examples:
        >>> lens = ThinLens(focal_length=50, f_number=1.8, focus_distance=1.5)
        >>> round(lens.bokeh(near=1.0, far=10.0), 1), round(lens.focus_disparity(near=1.0, far=10.0), 2)
        (13.8, 0.63)
    """

    focal_length: float
    f_number: float
    focus_distance: float
    sensor_short_side: float = 24.0

    def __post_init__(self) -> None:
        for name in ("focal_length", "f_number", "focus_distance", "sensor_short_side"):
            if not getattr(self, name) > 0 or (name != "focus_distance" and math.isinf(getattr(self, name))):
                raise ValueError(f"{name} must be a positive number, got {getattr(self, name)}")
        if self.focus_distance * MILLIMETRES <= self.focal_length:
            distance = f"{self.focus_distance:g} m, nearer than its focal length"
            raise ValueError(f"a lens of {self.focal_length:g} mm cannot focus at {distance}")

    @classmethod
    def of_bokeh(
        cls,
        bokeh: float,
        focus_disparity: float,
        near: float,
        far: float,
        image_distance: float,
        sensor_short_side: float = 24.0,
    ) -> ThinLens:
        """The lens with a given framing whose pictures have this level and focus; the inverse of the two methods.

        Args:
            bokeh: Level, positive.
            focus_disparity: Disparity in focus.
            near: Depth of disparity 1, metres.
            far: Depth of disparity 0, metres; may be infinite.
            image_distance: v in millimetres; with the sensor it fixes the field of view.
            sensor_short_side: h in millimetres.

        Raises:
            ValueError: If the level is not positive, or no lens has these numbers.
        """
        if not bokeh > 0:
            raise ValueError(f"a lens blurs what is out of focus: the level must be positive, got {bokeh}")
        sharp = 1 / far + focus_disparity * _inverse_depth_range(near, far)
        focus_distance = 1 / sharp if sharp > 0 else math.inf
        focal_length = 1 / (sharp / MILLIMETRES + 1 / image_distance)
        scale = REFERENCE_SHORT_SIDE * image_distance / sensor_short_side * _inverse_depth_range(near, far)
        return cls(focal_length, focal_length / MILLIMETRES / (2 * bokeh / scale), focus_distance, sensor_short_side)

    @property
    def aperture_radius(self) -> float:
        """Radius a of the opening in metres."""
        return self.focal_length / (2 * self.f_number) / MILLIMETRES

    @property
    def image_distance(self) -> float:
        """Distance v of the sensor from the lens in millimetres."""
        return 1 / (1 / self.focal_length - 1 / (self.focus_distance * MILLIMETRES))

    def bokeh(self, near: float, far: float) -> float:
        """Bokeh level in a scene whose disparity is 1 at depth ``near`` and 0 at ``far``, both in metres."""
        framing = self.image_distance / self.sensor_short_side
        return REFERENCE_SHORT_SIDE * framing * self.aperture_radius * _inverse_depth_range(near, far)

    def focus_disparity(self, near: float, far: float) -> float:
        """Disparity in focus in such a scene; outside [0, 1] where the lens focuses before or behind all of it."""
        return (1 / self.focus_distance - 1 / far) / _inverse_depth_range(near, far)


def _inverse_depth_range(near: float, far: float) -> float:
    if not 0 < near < far:
        raise ValueError(f"near and far must be depths with 0 < near < far, got {near} and {far}")
    return 1 / near - 1 / far


def focus_pixel(focus: tuple[float, float], height: int, width: int) -> tuple[int, int]:
    """Row and column of the pixel that holds a focus point given as fractions of width and height."""
    x, y = focus
    return min(int(y * height), height - 1), min(int(x * width), width - 1)


def focus_fractions(focus: tuple[float, float], height: int, width: int) -> tuple[float, float]:
    """A focus point as fractions of width and height; numbers that both exceed 1 are column and row of a pixel.

    Raises:
        ValueError: If the point lies outside an image of this size.
    """
    x, y = focus
    if x > 1 and y > 1:
        if not (x <= width - 1 and y <= height - 1):
            raise ValueError(f"focus ({x:g}, {y:g}) lies outside the image of {width}x{height} pixels")
        return (x + 0.5) / width, (y + 0.5) / height
    return Camera((x, y), 0.0).focus


@dataclass(frozen=True)
class CameraBatch:
    """Cameras as tensors; any leading shape ``(...)``, usually ``(B,)`` or ``(B, K)`` for K targets a sample.

    Args:
        focus: ``(..., 2)`` float, x and y as fractions of width and height.
        bokeh: ``(...)`` float, levels at a 512-pixel short side.
        apertures: Of each camera of a ``(B,)`` batch; none: all are round.

    Examples:
        >>> cameras = CameraBatch.from_cameras([Camera((0.0, 0.5), 12)])  # in focus is what is farthest, on the left
        >>> cameras.defocus_pixels(torch.linspace(0, 1, 1024).expand(1, 1, 1024, 1024)).max()
        tensor(24.)
    """

    focus: Tensor
    bokeh: Tensor
    apertures: tuple[Aperture, ...] = ()

    def __post_init__(self) -> None:
        if len(self.apertures) not in (0, self.bokeh.numel()):
            raise ValueError(f"{len(self.apertures)} apertures for {self.bokeh.numel()} cameras: one each, or none")
        if self.focus.shape != (*self.bokeh.shape, 2):
            shapes = f"{tuple(self.focus.shape)} and {tuple(self.bokeh.shape)}"
            raise ValueError(f"focus must have the shape of bokeh plus (2,): got {shapes}")

    @classmethod
    def from_cameras(cls, cameras: Sequence[Camera]) -> CameraBatch:
        """Stack single cameras into a ``(B,)`` batch."""
        return cls(
            focus=torch.tensor([camera.focus for camera in cameras], dtype=torch.float32).reshape(-1, 2),
            bokeh=torch.tensor([camera.bokeh for camera in cameras], dtype=torch.float32),
            apertures=tuple(c.aperture for c in cameras) if any(c.aperture != Aperture() for c in cameras) else (),
        )

    def __getitem__(self, index: Any) -> CameraBatch:
        """Some of the cameras, by an index or slice of the leading shape, with round apertures.

        ``cameras[:, 0]`` is the first of K targets.
        """
        return CameraBatch(self.focus[index], self.bokeh[index])

    def to(self, *args: Any, **kwargs: Any) -> CameraBatch:
        """Move or cast both tensors, as ``Tensor.to``."""
        return replace(self, focus=self.focus.to(*args, **kwargs), bokeh=self.bokeh.to(*args, **kwargs))

    def pin_memory(self) -> CameraBatch:
        """Copy both tensors to page-locked memory."""
        return replace(self, focus=self.focus.pin_memory(), bokeh=self.bokeh.pin_memory())

    def flatten(self) -> CameraBatch:
        """Merge all leading dimensions into one."""
        return replace(self, focus=self.focus.reshape(-1, 2), bokeh=self.bokeh.reshape(-1))

    def focus_disparity(self, disparity_B1HW: Tensor) -> Tensor:
        """Disparity at the pixel that holds each camera's focus point, ``(B,)``; for a ``(B,)`` batch."""
        height, width = disparity_B1HW.shape[-2:]
        column_B = (self.focus[:, 0] * width).long().clamp(0, width - 1)
        row_B = (self.focus[:, 1] * height).long().clamp(0, height - 1)
        return disparity_B1HW[torch.arange(len(row_B), device=row_B.device), 0, row_B, column_B]

    def defocus_pixels(self, disparity_B1HW: Tensor) -> Tensor:
        """:meth:`defocus` in pixels of the map itself, ``(B, 1, H, W)``."""
        height, width = disparity_B1HW.shape[-2:]
        return self.defocus(disparity_B1HW) * reference_scale(height, width)

    def defocus(self, disparity_B1HW: Tensor) -> Tensor:
        """Signed blur radius that each camera asks for (paper eq. 7), for a ``(B,)`` batch.

        Args:
            disparity_B1HW: In [0, 1], of the pictures that the cameras take.

        Returns:
            ``bokeh * (disparity - focus disparity)``, ``(B, 1, H, W)``: pixels of a 512-pixel short side, positive in
            front of the focus plane.
        """
        focus_B111 = self.focus_disparity(disparity_B1HW).view(-1, 1, 1, 1)
        return self.bokeh.view(-1, 1, 1, 1) * (disparity_B1HW - focus_B111)

    def features(self) -> Tensor:
        """Input of the camera token's projector: focus scaled to [-1, 1] and level / 20; ``(..., 3)``."""
        return torch.cat([self.focus * 2 - 1, self.bokeh[..., None] / LEVEL_SCALE], dim=-1)
