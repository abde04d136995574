"""Scenes, their renditions, surfaces and benchmark samples."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from diffcam.camera import Camera
from diffcam.grid import SUBTASKS

_KEY = re.compile(r"[A-Za-z0-9_/-]+")
"""What a scene's key may consist of."""


@dataclass(frozen=True)
class Variant:
    """One rendition of a scene.

    Args:
        camera: Focus point and level of the rendition.
        focus_disparity: Disparity in [0, 1] of the plane in focus.
        image: ``(3, H, W)`` display values in [0, 1]; None: not stored, rendered when needed.

    Raises:
        ValueError: If the focus disparity is outside [0, 1].

    Examples:
        >>> Variant(Camera((0.5, 0.5), 8), focus_disparity=0.25).image is None  # rendered when it is asked for
        True
    """

    camera: Camera
    focus_disparity: float
    image: Tensor | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.focus_disparity) and 0.0 <= self.focus_disparity <= 1.0):
            raise ValueError(f"focus_disparity must lie in [0, 1], got {self.focus_disparity}")


@dataclass(frozen=True)
class Sample:
    """One benchmark sample: from one rendition of a scene to another.

    Args:
        subtask: ``refocus``, ``add_bokeh`` or ``remove_bokeh``.
        reference: Index into the scene's variants; None: the all-in-focus original.
        target: As ``reference``.
        camera: Focus point and level that the model is asked for.

    Raises:
        ValueError: If the sub-task is unknown, or an index is not an integer.

    Examples:
        >>> Sample("add_bokeh", reference=None, target=0, camera=Camera((0.5, 0.5), 8)).subtask
        'add_bokeh'
    """

    subtask: str
    reference: int | None
    target: int | None
    camera: Camera

    def __post_init__(self) -> None:
        if self.subtask not in SUBTASKS:
            raise ValueError(f"subtask must be one of {', '.join(SUBTASKS)}, got {self.subtask!r}")
        for index in (self.reference, self.target):
            if index is not None and not isinstance(index, int):
                raise ValueError(f"a sample names its variants by index, got {index!r}")


@dataclass(frozen=True)
class Surface:
    """One of the surfaces that a made scene consists of, whole: also where nearer ones hide it.

    Args:
        image: ``(3, H, W)`` display values in [0, 1].
        coverage: ``(1, H, W)`` share of each pixel that it covers, in [0, 1]; ones for the farthest.
        disparity: ``(1, H, W)`` in [0, 1], in the scene's scale.

    Raises:
        ValueError: If a shape does not fit.

    Examples:
        >>> leaf = Surface(torch.rand(3, 48, 64), torch.rand(1, 48, 64), torch.full((1, 48, 64), 0.9))
        >>> leaf.image.shape
        torch.Size([3, 48, 64])
    """

    image: Tensor
    coverage: Tensor
    disparity: Tensor

    def __post_init__(self) -> None:
        one = (1, *self.image.shape[1:])
        if self.image.shape[0] != 3 or self.coverage.shape != one or self.disparity.shape != one:
            shapes = ", ".join(str(tuple(value.shape)) for value in vars(self).values())
            raise ValueError(f"a surface must be (3, H, W), (1, H, W) and (1, H, W), got {shapes}")


@dataclass(frozen=True)
class Scene:
    """An all-in-focus photograph with its disparity.

    Args:
        key: Name inside the shard: letters, digits, ``_``, ``-`` and ``/``.
        image: All-in-focus, ``(3, H, W)`` in [0, 1].
        disparity: ``(1, H, W)`` in [0, 1], 0 farthest, 1 nearest.
        source: Where it comes from, such as ``camera``, ``phone``, ``ai``, ``layered``, ``raytraced``.
        kind: Side of the paper's schedule from photos to AI pictures (section 3.3) on which the scene counts:
            ``photo`` for a camera's pixels, also of layered scenes cut out of photos; ``ai`` for what no camera took
            (generated, procedural, ray-traced), which lacks the artifacts for which the paper leaves photos.
        variants: Renditions, stored or only described.
        samples: Benchmark samples.
        metadata: Licence, attribution, seed, ...: anything that JSON can hold.
        surfaces: What a made scene consists of, from far to near; none where that is not known.

    Raises:
        ValueError: If a shape, a range or an index is wrong.

    Examples:
        >>> scene = Scene("000000", torch.rand(3, 48, 64), torch.rand(1, 48, 64), source="camera", kind="photo")
        >>> len(scene.variants), len(scene.samples)
        (0, 0)
    """

    key: str
    image: Tensor
    disparity: Tensor
    source: str
    kind: str
    variants: tuple[Variant, ...] = ()
    samples: tuple[Sample, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)
    surfaces: tuple[Surface, ...] = ()

    def __post_init__(self) -> None:
        if not _KEY.fullmatch(self.key):
            raise ValueError(f"scene key {self.key!r} must be letters, digits, '_', '-' or '/'")
        for name, value, channels in (("image", self.image, 3), ("disparity", self.disparity, 1)):
            if value.ndim != 3 or value.shape[0] != channels:
                raise ValueError(f"scene {self.key}: {name} must be ({channels}, H, W), got {tuple(value.shape)}")
            if value.numel() == 0:
                raise ValueError(f"scene {self.key}: {name} is empty")
            low, high = (float(bound) for bound in torch.aminmax(value))  # NaN reaches both and fails the comparison
            if not (low >= 0.0 and high <= 1.0):
                raise ValueError(f"scene {self.key}: {name} must be finite and lie in [0, 1], got {low:g} to {high:g}")
        sizes = [self.disparity.shape[1:], *(v.image.shape[1:] for v in self.variants if v.image is not None)]
        sizes += [surface.image.shape[1:] for surface in self.surfaces]
        if any(size != self.image.shape[1:] for size in sizes):
            raise ValueError(f"scene {self.key}: image, disparity, variants and surfaces must have one size")
        for sample in self.samples:
            for index in (sample.reference, sample.target):
                if index is not None and not 0 <= index < len(self.variants):
                    raise ValueError(f"scene {self.key}: a sample names variant {index} of {len(self.variants)}")
