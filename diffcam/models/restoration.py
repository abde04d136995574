"""What a photo would be without its blur: where it is blurred and how much, and a deconvolution by just that.

B photos, H rows and W columns of pixels, K blur radii, h x w cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional as F

from diffcam.camera import Aperture
from diffcam.functional.blur_stack import band_energies, blur_bands
from diffcam.functional.bokeh import disc_strength, display_to_linear, linear_to_display
from diffcam.functional.deconvolution import richardson_lucy
from diffcam.functional.defocus_fit import fit_lens, local_radius, log_likelihoods, of_radius, radius_at
from diffcam.kernels.scatter import gather_discs, scatter_discs

BANDS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)
"""Radii of the blur bands whose energies the estimate looks at, pixels."""

RADII = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0, 14.0, 17.0, 20.0)
"""Blur radii that are told apart, pixels."""

CELL = 8
"""Side in pixels of the squares that blur is estimated in."""

LEAST_RADIUS = 0.5
"""Photos with no more blur than this anywhere are left as they are."""

DEPTH_MARGIN = 0.6
"""A lens must explain cells at least this well (nats a cell, less than their own best) for depth to be believed."""


@dataclass(frozen=True)
class Restored:
    """A photo and what undoing its blur gives.

    Args:
        image: ``(B, 3, H, W)`` display values in [0, 1].
        radius: ``(B, 1, H, W)`` estimated blur radius of the photo, pixels.
    """

    image: Tensor
    radius: Tensor


class DefocusRemoval(ModelMixin, ConfigMixin):
    """Estimates a photo's own blur and undoes it.

    A small convolutional network tells from the energies of blur bands which radius each cell of the photo was blurred
    with. Where depth is known, the focus planes and levels that fit all cells give the radii (paper eq. 7); where no
    lens fits the map, each cell's neighbourhood does. Deconvolution is by the renderer's own discs (`richardson_lucy`):
    it is as good as that model of a lens and the map are.

    Args:
        width: Channels of the network.
        gamma: Light is ``image ** gamma``.
        iterations: Of the deconvolution.
    """

    @register_to_config
    def __init__(self, width: int = 64, gamma: float = 2.2, iterations: int = 9) -> None:
        super().__init__()
        self.gamma = gamma
        self.iterations = iterations
        self.layers = nn.ModuleList(nn.Conv2d(inputs, width, 3, padding=1) for inputs in (len(BANDS) + 1, width, width))
        self.head = nn.Conv2d(width, len(RADII), 1)
        self.register_buffer("radii", torch.tensor(RADII), persistent=False)

    def logits(self, image_B3HW: Tensor) -> Tensor:
        """How likely each cell of a photo was blurred with each of :data:`RADII`, ``(B, K, H / CELL, W / CELL)``."""
        energies = band_energies(blur_bands(image_B3HW, BANDS), CELL)
        features = torch.cat([energies, F.avg_pool2d(image_B3HW.mean(1, keepdim=True), CELL)], dim=1)
        for number, layer in enumerate(self.layers):
            found = F.gelu(layer(features))
            features = found if number == 0 else features + found
        return self.head(features)

    @torch.no_grad()
    def estimate(self, image_B3HW: Tensor, disparity_B1HW: Tensor) -> Tensor:
        """Blur radius of a photo in pixels, ``(B, 1, H, W)``.

        Args:
            image_B3HW: Display values in [0, 1]; sides multiples of :data:`CELL`.
            disparity_B1HW: In [0, 1]; the zero map where depth is unknown.
        """
        table = log_likelihoods(self.logits(image_B3HW))
        by_lens = radius_at(fit_lens(table, F.avg_pool2d(disparity_B1HW, CELL), self.radii), disparity_B1HW)
        by_place = local_radius(table, self.radii)
        fits_B, own_B = (
            of_radius(table, radius, self.radii).mean((1, 2, 3)) for radius in (F.avg_pool2d(by_lens, CELL), by_place)
        )
        by_place = F.interpolate(by_place, size=by_lens.shape[-2:], mode="bilinear", align_corners=False)
        return torch.where((fits_B > own_B - DEPTH_MARGIN).view(-1, 1, 1, 1), by_lens, by_place)

    @torch.no_grad()
    def forward(self, image_B3HW: Tensor, disparity_B1HW: Tensor) -> Restored:
        """Estimate and undo; arguments as in :meth:`estimate`."""
        radius = self.estimate(image_B3HW, disparity_B1HW)
        blurred = radius.amax((1, 2, 3)) > LEAST_RADIUS
        image = image_B3HW.clone()
        if blurred.any():
            image[blurred] = self.deconvolve(image_B3HW[blurred], radius[blurred])
        return Restored(image, radius)

    def deconvolve(self, image_B3HW: Tensor, radius_B1HW: Tensor) -> Tensor:
        """Undo discs of these radii; display values in [0, 1]."""
        strength, round_ = disc_strength(radius_B1HW), Aperture()
        light = display_to_linear(image_B3HW.float(), self.gamma)
        _, weight = scatter_discs(torch.zeros_like(light), radius_B1HW, strength, round_)
        sharp = richardson_lucy(
            light,
            lambda x: scatter_discs(x, radius_B1HW, strength, round_)[0] / weight,
            lambda x: gather_discs(x / weight, radius_B1HW, strength, round_),
            self.iterations,
        )
        return linear_to_display(sharp.clamp(0, 1), self.gamma)
