"""Which renditions of a scene make a training sample: a reference and a stacking pair of targets.

They are drawn from the paper's grid (:mod:`diffcam.grid`) and the original; planes without a pixel are not drawn.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from diffcam.camera import Aperture, Camera
from diffcam.data.schema import Variant
from diffcam.errors import DiffcamError
from diffcam.grid import FOCUS_TOLERANCE, LEVELS, PLANES, choose, draw_in_focus, pixel_centre


@dataclass(frozen=True)
class Rendition:
    """One picture of a scene.

    Args:
        camera: Focus point and level; level 0 is the all-in-focus original.
        focus_disparity: Disparity of the plane in focus.
        variant: Index of the stored variant, or None: rendered, or the original.
    """

    camera: Camera
    focus_disparity: float
    variant: int | None = None


@dataclass(frozen=True)
class Pair:
    """A reference and the two targets of the stacking constraint, which differ in focus plane."""

    reference: Rendition
    targets: tuple[Rendition, Rendition]


@dataclass(frozen=True)
class Plane:
    """A focus plane and what can be drawn at it.

    Args:
        focus_disparity: The plane.
        options: Level, aperture and stored variant (or None) of each rendition.
    """

    focus_disparity: float
    options: tuple[tuple[float, Aperture, int | None], ...]


class Pairing(ABC):
    """Draws the renditions of a sample.

    Args:
        original_targets: Share of the targets that are the original; at most one of a pair is.
        original_references: Share of the references that are the original.
        eta: Half width of a plane in units of disparity.

    Raises:
        ValueError: If a number is outside its range.
    """

    def __init__(
        self, original_targets: float = 0.2, original_references: float = 0.2, eta: float = FOCUS_TOLERANCE
    ) -> None:
        if not 0.0 <= original_targets <= 0.5:
            raise ValueError(f"original_targets must lie in [0, 0.5], got {original_targets}: one of a pair at most")
        if not 0.0 <= original_references <= 1.0:
            raise ValueError(f"original_references must lie in [0, 1], got {original_references}")
        if not 0.0 < eta <= 1.0:
            raise ValueError(f"eta must lie in (0, 1], got {eta}")
        self.original_targets = original_targets
        self.original_references = original_references
        self.eta = eta

    def __call__(self, variants: Sequence[Variant], disparity_1HW: Tensor, generator: torch.Generator) -> Pair:
        """Draw a sample's renditions.

        Args:
            variants: The scene's variants; images are not looked at.
            disparity_1HW: Of the part of the scene that is shown.
            generator: Source of all draws.

        Raises:
            DiffcamError: If no plane holds a pixel.
        """
        planes = self.planes(variants)
        reference = next(self._draw(planes, disparity_1HW, generator), None)
        if reference is None:
            raise DiffcamError(f"no pixel in view lies within eta = {self.eta} of a focus plane; set a larger eta")
        original = _original(disparity_1HW, generator)
        from_original, to_original, first = torch.rand(3, generator=generator).tolist()
        drawn = self._draw(planes, disparity_1HW, generator)
        one, other = next(drawn), next(drawn, None)
        if other is None or to_original < 2 * self.original_targets:  # a flat scene has no second plane
            one, other = (one, original) if first < 0.5 else (original, one)
        if from_original < self.original_references:
            reference = _original(disparity_1HW, generator)
        return Pair(reference, (one, other))

    @abstractmethod
    def planes(self, variants: Sequence[Variant]) -> Sequence[Plane]:
        """What there is to draw from."""

    def rendition(
        self, plane: Plane, focus: tuple[float, float], disparity: float, generator: torch.Generator
    ) -> Rendition:
        """A rendition focused on a point, fractions of the frame, whose disparity lies within eta of a plane."""
        level, aperture, variant = plane.options[choose(len(plane.options), generator)]
        return Rendition(Camera(focus, level, aperture), plane.focus_disparity, variant)

    def _draw(self, planes: Sequence[Plane], disparity_1HW: Tensor, generator: torch.Generator) -> Iterator[Rendition]:
        """Renditions at planes that differ, uniform over the planes that hold a pixel."""
        for number in torch.randperm(len(planes), generator=generator).tolist():
            pixel = draw_in_focus(disparity_1HW, planes[number].focus_disparity, generator, tolerance=self.eta)
            if pixel is not None:
                focus, disparity = pixel_centre(pixel, disparity_1HW), float(disparity_1HW.flatten()[pixel])
                yield self.rendition(planes[number], focus, disparity, generator)


class GridPairing(Pairing):
    """The paper's grid, rendered while training: no variant is stored.

    Args:
        planes: Focus planes, evenly spaced from 0 to 1.
        levels: Bokeh levels 1, 2, ... up to this.
        original_targets, original_references, eta: See :class:`Pairing`.

    Raises:
        ValueError: If a number is outside its range.

    Examples:
        >>> planes = GridPairing().planes([])
        >>> len(planes), len(planes[0].options), planes[1].focus_disparity
        (21, 20, 0.05)
    """

    def __init__(
        self,
        planes: int = len(PLANES),
        levels: int = len(LEVELS),
        *,
        original_targets: float = 0.2,
        original_references: float = 0.2,
        eta: float = FOCUS_TOLERANCE,
    ) -> None:
        super().__init__(original_targets, original_references, eta)
        if planes < 2 or levels < 1:
            raise ValueError(f"the grid needs at least 2 planes and 1 level, got {planes} and {levels}")
        options = tuple((float(level), Aperture(), None) for level in range(1, levels + 1))
        self._planes = tuple(Plane(number / (planes - 1), options) for number in range(planes))
        self.levels = levels

    def planes(self, variants: Sequence[Variant]) -> Sequence[Plane]:
        """See :meth:`Pairing.planes`."""
        return self._planes


class ContinuousPairing(GridPairing):
    """The grid's planes with any disparity and level between: focus exactly on the point.

    Levels from 1 up are uniform in their logarithm: as many from 1 to 2 as from 10 to 20.

    Examples:
        >>> pairing = ContinuousPairing(levels=16, original_targets=0.0)
        >>> pair = pairing([], torch.linspace(0, 1, 64).expand(1, 48, 64), torch.Generator().manual_seed(0))
        >>> 1 <= pair.targets[0].camera.bokeh <= 16
        True
    """

    def rendition(
        self, plane: Plane, focus: tuple[float, float], disparity: float, generator: torch.Generator
    ) -> Rendition:
        """See :meth:`Pairing.rendition`."""
        level = self.levels ** float(torch.rand((), generator=generator))
        return Rendition(Camera(focus, level), disparity)


class StoredPairing(Pairing):
    """Precomputed variants, as in the paper; the focus point is drawn anew from the plane's in-focus set.

    Examples:
        >>> variants = [Variant(Camera((0.5, 0.5), level), 0.5) for level in (4, 8)]
        >>> len(StoredPairing().planes(variants)[0].options)
        2
    """

    def planes(self, variants: Sequence[Variant]) -> Sequence[Plane]:
        """The planes of the scene's variants, of which there must be one."""
        grouped: dict[float, list[tuple[float, Aperture, int | None]]] = {}
        for index, variant in enumerate(variants):
            if variant.camera.bokeh > 0:
                option = (variant.camera.bokeh, variant.camera.aperture, index)
                grouped.setdefault(variant.focus_disparity, []).append(option)
        if not grouped:
            raise DiffcamError("the scene has no variants: simulate them, or render while training with GridPairing")
        return [Plane(focus_disparity, tuple(options)) for focus_disparity, options in grouped.items()]


def _original(disparity_1HW: Tensor, generator: torch.Generator) -> Rendition:
    """The all-in-focus original, asked for with a focus point anywhere."""
    pixel = choose(disparity_1HW.numel(), generator)
    return Rendition(Camera(pixel_centre(pixel, disparity_1HW), 0.0), float(disparity_1HW.flatten()[pixel]))
