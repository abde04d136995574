"""Focus accuracy: is the blur as large as the camera asks for, and is the focus where it asks?

In textured tiles of near-constant disparity, an output is compared with copies of the all-in-focus image that are
blurred by one radius everywhere: the best fitting radius is the one that the tile shows.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor
from torch.nn import functional as F

from diffcam.camera import CameraBatch, focus_pixel, reference_scale
from diffcam.functional.blur_stack import disc_blur
from diffcam.functional.bokeh import PAPER_GAMMA, display_to_linear, linear_to_display
from diffcam.functional.disc import AREA_OFFSET, disc_kernel
from diffcam.functional.sharpness import LUMINANCE_WEIGHTS, laplacian, luminance
from diffcam.metrics.base import SampleMetric

RADII = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.5, 8.0, 10.0, 12.0, 14.0, 17.0, 20.0)
"""Candidate radii in pixels of a 512-pixel short side."""

TILE = 32
"""Side of a tile, pixels of a 512-pixel short side."""

MARGIN = 12
"""How far around a tile its disparity must be near constant too, pixels of a 512-pixel short side: blur from there
reaches into it."""

RADIUS_SPREAD = 1.5
"""Largest difference of asked radii within a tile and its margin, pixels of a 512-pixel short side."""

LEAST_RELATIVE = 2.0
"""Smallest asked radius of which an error is a meaningful share, pixels of a 512-pixel short side."""

TEXTURE = 4 / 255
"""A tile is textured if a blur of two pixels (at 512) changes its values by more than this, root mean square."""

BLURRED = 2.0
"""Asked radius from which on a place is to be blurred, pixels of a 512-pixel short side."""

IN_FOCUS = 0.5
"""Asked radius below which a place is to be in focus, pixels of a 512-pixel short side."""

LEAST_REGION = 1 / 8
"""Smallest share of the focus point's tile that must be in focus for the sample to be judged."""

LEAD = 1.1
"""How many times as sharp as the sharpest blurred tile the focus must be: where all is sharp, chance would decide."""

ROUNDING = 20 * sum(weight**2 for weight in LUMINANCE_WEIGHTS) / 12 / 255**2
"""Laplacian energy of luminance that rounding to 8 bits adds: 20 is the sum of the kernel's squares."""


def blurred_copies(image_HW: Tensor, radii: tuple[float, ...], gamma: float) -> Tensor:
    """A channel blurred by one radius everywhere, for each of some radii in pixels: ``(K, H, W)``.

    The classical renderer's disc and its border (weights of sources outside are missing, not zero), as a Fourier
    product: exact for a constant radius. Light is ``image ** gamma``.
    """
    height, width = image_HW.shape
    spectra_K, weight_KHW = _discs(radii, height, width, image_HW.device)
    light_KHW = _spread(display_to_linear(image_HW.double(), gamma), spectra_K, int(max(radii)) + 1)
    return linear_to_display((light_KHW / weight_KHW).clamp_min(0), gamma).to(image_HW.dtype)


@lru_cache(maxsize=2)
def _discs(radii: tuple[float, ...], height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Fourier transforms of the discs, and the sum of weights that reaches each pixel, ``(K, H, W)``."""
    reach = int(max(radii)) + 1
    discs = [
        F.pad(disc_kernel(radius, device, torch.float64) / (radius**2 + AREA_OFFSET), (reach - int(radius) - 1,) * 4)
        for radius in radii
    ]
    spectra_K = torch.fft.rfft2(torch.stack(discs), s=_transform_size(height, width, reach))
    ones = torch.ones(height, width, dtype=torch.float64, device=device)
    return spectra_K, _spread(ones, spectra_K, reach)


def _spread(light_HW: Tensor, spectra_K: Tensor, reach: int) -> Tensor:
    height, width = light_HW.shape
    size = _transform_size(height, width, reach)
    sums_KHW = torch.fft.irfft2(torch.fft.rfft2(light_HW, s=size) * spectra_K, s=size)
    return sums_KHW[:, reach : reach + height, reach : reach + width]


def _transform_size(height: int, width: int, reach: int) -> tuple[int, int]:
    """Sides with room for the discs, rounded up to multiples of 32: other sides transform slowly."""
    rows, columns = (-(-(side + 2 * reach) // 32) * 32 for side in (height, width))
    return rows, columns


class BlurRadiusError(SampleMetric):
    """Mean distance of the shown from the asked blur radius, pixels of a 512-pixel short side.

    Args:
        gamma: Of the light in which blur is an average; the benchmark renderer's.

    Examples:
        >>> sharp = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
        >>> BlurRadiusError().score(sharp, sharp, torch.full((1, 1, 256, 256), 4.0))  # not blurred at all
        tensor([8.])
    """

    column, label, higher_is_better, digits = "blur_error", "Blur error", False, 2
    inputs = ("prediction", "sharp", "asked_radius")
    note = "Blur error: shown against asked blur radius in textured tiles, pixels at 512"

    def __init__(self, gamma: float = PAPER_GAMMA) -> None:
        self.gamma = gamma
        self._last: tuple[Tensor, Tensor] | None = None  # a scene and its blurred copies

    def score(self, prediction_B3HW: Tensor, sharp_B3HW: Tensor, radius_B1HW: Tensor) -> Tensor:
        """Errors ``(B,)``; NaN where no tile is textured and near constant in disparity."""
        samples = zip(prediction_B3HW, sharp_B3HW, radius_B1HW, strict=True)
        return torch.stack([self._score(*sample) for sample in samples])

    def _score(self, prediction_3HW: Tensor, sharp_3HW: Tensor, radius_1HW: Tensor) -> Tensor:
        shown_N, asked_N = self._radii(prediction_3HW, sharp_3HW, radius_1HW)
        return (shown_N - asked_N).abs().mean()  # of no tiles: NaN

    def _radii(self, prediction_3HW: Tensor, sharp_3HW: Tensor, radius_1HW: Tensor) -> tuple[Tensor, Tensor]:
        """Shown and asked radius of every tile that can tell, ``(N,)`` each, in pixels of a 512-pixel short side."""
        unit = reference_scale(*prediction_3HW.shape[1:])
        sharp_HW, shown_HW = sharp_3HW[1], prediction_3HW[1]  # green: blur is the same in every channel
        if self._last is None or not torch.equal(self._last[0], sharp_HW):  # consecutive samples show one scene
            self._last = sharp_HW, blurred_copies(sharp_HW, tuple(radius * unit for radius in RADII), self.gamma)
        copies_KHW = self._last[1]
        tile = tile_side(*sharp_HW.shape)
        errors_KN = F.avg_pool2d((copies_KHW - shown_HW).square()[:, None], tile).flatten(1)
        radius_N, valid_N = tile_radii(radius_1HW, tile, round(MARGIN * unit), RADIUS_SPREAD * unit)
        valid_N &= textured((copies_KHW[RADII.index(BLURRED)] - copies_KHW[0]).square(), tile)
        return best_radius(errors_KN[:, valid_N]), radius_N[valid_N] / unit


class RelativeBlurError(BlurRadiusError):
    """Distance of the shown from the asked blur radius as a share of it, where that is two pixels or more."""

    column, label, digits = "blur_error_relative", "Relative blur error", 3
    note = (
        "Relative blur error: of the shown against the asked blur radius in textured tiles, from 2 pixels (at 512) up"
    )

    def _score(self, prediction_3HW: Tensor, sharp_3HW: Tensor, radius_1HW: Tensor) -> Tensor:
        shown_N, asked_N = self._radii(prediction_3HW, sharp_3HW, radius_1HW)
        blurred_N = asked_N >= LEAST_RELATIVE
        return ((shown_N - asked_N).abs() / asked_N)[blurred_N].mean()


class FocusHit(SampleMetric):
    """Share of samples in which the region at the focus point is the sharpest.

    Sharpness is how much of the all-in-focus image's Laplacian energy an area of the output keeps, less what rounding
    adds. The region at the point is what its tile holds in focus, so that nothing behind an edge counts for it. It must
    stand out (:data:`LEAD`) from every textured tile that the camera asks to blur by two pixels or more.

    Examples:
        >>> sharp = torch.rand(1, 3, 256, 256, generator=torch.Generator().manual_seed(0))
        >>> asked = torch.tensor([0.0, 4.0]).repeat_interleave(128).expand(1, 1, 256, 256)  # the left half in focus
        >>> cameras = CameraBatch.from_cameras([diffcam.Camera((0.25, 0.5), 8)])
        >>> FocusHit().score(torch.where(asked > 0, disc_blur(sharp, 4.0), sharp), sharp, asked, cameras)
        tensor([1.])
    """

    column, label, higher_is_better, digits = "focus_hit", "Focus hit", True, 2
    inputs = ("prediction", "sharp", "asked_radius", "cameras")
    subtasks = ("refocus", "add_bokeh", "all")

    def score(self, prediction_B3HW: Tensor, sharp_B3HW: Tensor, radius_B1HW: Tensor, cameras: CameraBatch) -> Tensor:
        """1 or 0, ``(B,)``; NaN where nothing is to be blurred or the point lies on a textureless or tiny region."""
        shown, sharp = luminance(prediction_B3HW), luminance(sharp_B3HW)
        height, width = sharp.shape[-2:]
        unit = reference_scale(height, width)
        tile = tile_side(height, width)
        change = (disc_blur(sharp, BLURRED * unit) - sharp).square()
        energies = laplacian(shown).square() - ROUNDING, laplacian(sharp).square()
        samples = zip(*energies, change, radius_B1HW, cameras.focus, strict=True)
        hits = torch.full((len(shown),), torch.nan, device=shown.device)
        for number, (kept_1HW, sharp_1HW, change_1HW, radius_1HW, focus) in enumerate(samples):
            radius_N, valid_N = tile_radii(radius_1HW, tile, round(MARGIN * unit), RADIUS_SPREAD * unit)
            kept_N, sharp_N = (F.avg_pool2d(x[None], tile).flatten() for x in (kept_1HW, sharp_1HW))
            others_N = valid_N & textured(change_1HW[0], tile) & (radius_N >= BLURRED * unit)
            row, column = focus_pixel((float(focus[0]), float(focus[1])), height, width)
            top, left = (min(max(at - tile // 2, 0), size - tile) for at, size in ((row, height), (column, width)))
            window = (0, slice(top, top + tile), slice(left, left + tile))
            in_focus = radius_1HW[window] < IN_FOCUS * unit
            seen = in_focus.float().mean() >= LEAST_REGION and change_1HW[window][in_focus].mean() > TEXTURE**2
            if seen and others_N.any():
                kept_at_focus = kept_1HW[window][in_focus].mean() / sharp_1HW[window][in_focus].mean()
                hits[number] = kept_at_focus > LEAD * (kept_N / sharp_N)[others_N].max()
        return hits


def tile_side(height: int, width: int) -> int:
    """Side of a tile in pixels of a picture; one that is smaller than a tile's least side of 8 is cut to its own."""
    return min(max(8, round(TILE * reference_scale(height, width))), height, width)


def tile_radii(radius_1HW: Tensor, tile: int, margin: int, spread: float) -> tuple[Tensor, Tensor]:
    """Mean asked radius of each tile ``(N,)``, and whether radii vary by less than ``spread`` in it and its margin.

    All arguments are in pixels; rows and columns that do not fill a tile are left out.
    """
    window = tile + 2 * margin
    padded = F.pad(radius_1HW[None], (margin,) * 4, mode="replicate")
    high, low = F.max_pool2d(padded, window, stride=tile), -F.max_pool2d(-padded, window, stride=tile)
    return F.avg_pool2d(radius_1HW[None], tile).flatten(), (high - low < spread).flatten()


def textured(change_HW: Tensor, tile: int) -> Tensor:
    """Whether each tile is textured, ``(N,)`` bool, from the squared change by a blur of :data:`BLURRED` pixels."""
    return F.avg_pool2d(change_HW[None, None], tile).flatten() > TEXTURE**2


def best_radius(errors_KN: Tensor) -> Tensor:
    """Radius of least error, between candidates by the parabola through three errors; ``(N,)`` at 512 pixels."""
    best_N = errors_KN.argmin(dim=0)
    inner_N = best_N.clamp(1, len(RADII) - 2)
    before, at, after = (errors_KN.gather(0, (inner_N + step)[None])[0] for step in (-1, 0, 1))
    curvature = before - 2 * at + after
    shift_N = torch.where(curvature > 0, 0.5 * (before - after) / curvature.clamp_min(1e-20), 0.0).clamp(-0.5, 0.5)
    place_N = torch.where(best_N == inner_N, best_N + shift_N, best_N.to(errors_KN.dtype))
    radii = torch.tensor(RADII, dtype=errors_KN.dtype, device=errors_KN.device)
    below_N = place_N.floor().long().clamp(0, len(RADII) - 2)
    return radii[below_N] + (place_N - below_N) * (radii[below_N + 1] - radii[below_N])
