"""Refocusing by deconvolution, one kernel a depth layer, then blurring anew: the row of Bando and Nishita 2007."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from diffcam.benchmark.methods import Method, render_target
from diffcam.camera import reference_scale
from diffcam.data.batch import RefocusSample
from diffcam.data.rendering import BokehRenderer
from diffcam.errors import DiffcamError
from diffcam.functional.bokeh import display_to_linear, linear_to_display
from diffcam.functional.disc import disc_kernel

SHARP_RADIUS = 0.75
"""Blur below this radius, in pixels, is left as it is: what deconvolution would gain, it loses in noise."""

REBLUR_SIGMA = 1.0
"""Standard deviation in pixels of the known blur whose effect on an edge tells the edge's own (Zhuo and Sim 2011)."""

OWN_RADIUS = 1.8
"""Disc radius in pixels that the estimate finds at edges that are in focus: no edge of a photo is a step."""

EDGE_QUANTILE = 0.4
"""Quantile of the radii found at edges of one depth that is taken for the lens's: soft edges and shadows lie above."""


class Restoration(ABC):
    """Deconvolution of a plane by a known kernel."""

    def __call__(self, plane_HW: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        """The plane ``(H, W)``, values in [0, 1], without the kernel's blur."""
        margin = min(2 * len(kernel), min(plane_HW.shape) - 1)  # mirrored around itself, so that no border rings
        restored = self.restore(np.pad(plane_HW, margin, mode="reflect"), kernel)
        return restored[margin:-margin, margin:-margin]

    @abstractmethod
    def restore(self, plane_HW: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        """The same for a plane whose border may ring."""


@dataclass(eq=False)
class Wiener(Restoration):
    """Wiener filter of scikit-image.

    Args:
        balance: Weight of smoothness against fidelity.

    Examples:
        >>> kernel = np.full((3, 3), 1 / 9)
        >>> round(float(Wiener(balance=1e-3)(np.pad(kernel, 6), kernel)[7, 7]), 2)  # a point, blurred to 1/9
        0.53
    """

    balance: float = 0.03

    def restore(self, plane_HW: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        """See :class:`Restoration`."""
        from skimage.restoration import wiener

        return np.asarray(wiener(plane_HW, kernel, self.balance, clip=False))


@dataclass(eq=False)
class RichardsonLucy(Restoration):
    """Richardson-Lucy iterations of scikit-image.

    Args:
        iterations: How many.

    Examples:
        >>> kernel = np.full((3, 3), 1 / 9)
        >>> round(float(RichardsonLucy(iterations=10)(np.pad(kernel, 6), kernel)[7, 7]), 2)  # a point, blurred to 1/9
        0.94
    """

    iterations: int = 10

    def restore(self, plane_HW: np.ndarray, kernel: np.ndarray) -> np.ndarray:
        """See :class:`Restoration`."""
        from skimage.restoration import richardson_lucy

        return np.asarray(richardson_lucy(plane_HW, kernel, num_iter=self.iterations))


class LayeredDeconvolution(Method):
    """Takes the reference's blur away layer by layer, its radii estimated from the picture, and renders anew.

    Args:
        restoration: Deconvolution of one layer; None: :class:`RichardsonLucy`.
        renderer: Blurs the result for the asked camera; its gamma is the light's in both directions.
        step: Distance of the layers' radii in pixels.
    """

    note = "Richardson-Lucy per depth layer, radii estimated from the reference"

    def __init__(
        self, restoration: Restoration | None = None, renderer: BokehRenderer | None = None, step: float = 1.0
    ) -> None:
        self.restoration = restoration or RichardsonLucy()
        self.renderer = renderer or BokehRenderer()
        self.step = step

    def __call__(self, sample: RefocusSample) -> Tensor:
        """The reference without its blur, with the asked one."""
        disparity_HW, plane, level = self.lens(sample)
        radii_HW = level * reference_scale(*disparity_HW.shape) * np.abs(disparity_HW - plane)  # paper eq. 7
        sharp = deconvolve(sample.reference, radii_HW, self.restoration, self.renderer.gamma, self.step)
        return render_target(self.renderer, sharp, sample)

    def lens(self, sample: RefocusSample) -> tuple[np.ndarray, float, float]:
        """Disparity ``(H, W)``, focus plane and bokeh level of the reference's blur: those that fit its edges."""
        positions, found = edge_radii(sample.reference, self.renderer.gamma)
        disparity = sample.disparity[0].numpy()
        return disparity, *fit_plane_and_level(disparity[positions], found, reference_scale(*disparity.shape))


class OracleDeconvolution(LayeredDeconvolution):
    """The same, told plane and level of the reference's blur: what estimating the radii costs."""

    note = "deconvolution told the radii of the reference's blur"

    def lens(self, sample: RefocusSample) -> tuple[np.ndarray, float, float]:
        """The true disparity, plane and level, where the benchmark tells them."""
        exact, blur = sample.exact_disparity, sample.reference_blur
        if blur is None or exact is None or bool(exact.isnan().any()):
            raise DiffcamError("the oracle needs a sample that says how its reference was blurred")
        return exact[0].numpy(), *blur


def deconvolve(
    image_3HW: Tensor, radii_HW: np.ndarray, restoration: Restoration, gamma: float, step: float = 1.0
) -> Tensor:
    """Deconvolve an image by layers of equal blur radius; between two layers, results are blended.

    Args:
        radii_HW: Blur radius in pixels; below :data:`SHARP_RADIUS` pixels are kept.
    """
    light = display_to_linear(image_3HW, gamma).double().numpy()
    weights = np.zeros_like(radii_HW)
    result = np.zeros_like(light)
    for number in range(1, int(np.ceil(radii_HW.max() / step)) + 1):
        share = np.clip(1 - np.abs(radii_HW / step - number), 0, 1) * (radii_HW >= SHARP_RADIUS)
        if not share.any():
            continue
        kernel = disc_kernel(number * step, dtype=torch.float64).numpy()
        result += share * np.stack([restoration(plane, kernel / kernel.sum()) for plane in light])
        weights += share
    result += (1 - weights) * light
    return linear_to_display(torch.from_numpy(result).clamp(0, 1), gamma).float()


def edge_radii(image_3HW: Tensor, gamma: float) -> tuple[tuple[np.ndarray, ...], np.ndarray]:
    """Where an image has edges, and the disc radius of the blur at each.

    An edge of Gaussian blur s, blurred once more by s0, loses the factor ``sqrt(1 + (s0 / s)^2)`` of its slope; a disc
    of radius r spreads as a Gaussian of ``s = r / 2``.

    Returns:
        Rows and columns of the edges, and ``(n,)`` radii in pixels.
    """
    from scipy.ndimage import gaussian_filter
    from skimage.feature import canny

    light = display_to_linear(image_3HW, gamma).double().mean(dim=0).numpy()
    slope, slope_again = (np.hypot(*np.gradient(x)) for x in (light, gaussian_filter(light, REBLUR_SIGMA)))
    edges = canny(np.asarray(image_3HW.mean(dim=0), dtype=np.float64), sigma=1.5, use_quantiles=False)
    positions = np.nonzero(edges & (slope_again > 0))
    ratio = slope[positions] / slope_again[positions]
    radii = 2 * REBLUR_SIGMA / np.sqrt(np.maximum(ratio**2 - 1, 1e-3))
    return positions, np.sqrt(np.maximum(radii**2 - OWN_RADIUS**2, 0))


def fit_plane_and_level(disparity_N: np.ndarray, radii_N: np.ndarray, unit: float) -> tuple[float, float]:
    """Focus plane and bokeh level whose radii (eq. 7) fit those found at edges.

    The fit is to :data:`EDGE_QUANTILE` of what is found: soft edges and shadows look more blurred than the lens made
    them, nothing looks less.

    ``unit`` is pixels per level. The plane lies in [0, 1], the level in 0 to 20; it is 0 where there is no edge.
    """
    planes, levels = np.linspace(0, 1, 21), np.arange(21.0)
    if len(radii_N) == 0:
        return 0.0, 0.0
    chosen = np.linspace(0, len(radii_N) - 1, min(len(radii_N), 2000)).astype(int)
    distance = np.abs(disparity_N[chosen] - planes[:, None])
    excess = radii_N[chosen] - unit * levels[:, None] * distance[:, None]  # (planes, levels, n)
    errors = np.maximum(EDGE_QUANTILE * excess, (EDGE_QUANTILE - 1) * excess).mean(axis=-1)
    plane, level = np.unravel_index(np.argmin(errors), errors.shape)
    return float(planes[plane]), float(levels[level])
