"""What a photo would be without its blur: where it is blurred and how much, and a deconvolution by just that.

B photos, H rows and W columns of pixels, K blur radii, h x w cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional as F

from diffcam.camera import Aperture
from diffcam.functional.blur_stack import band_energies, blur_bands, normalise_contrast
from diffcam.functional.bokeh import DISPLAY_GAMMA, display_to_linear, linear_to_display
from diffcam.functional.deconvolution import richardson_lucy_steps
from diffcam.functional.defocus_fit import interpolate_at, local_radius, log_likelihoods, radius_at, radius_curve
from diffcam.functional.disc import disc_strength
from diffcam.kernels.scatter import gather_discs, scatter_discs

BANDS = (0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0, 16.0)
"""Radii of the blur bands whose energies the estimate looks at, pixels."""

RADII = (
    *(0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 3.5, 4.0, 4.5),
    *(5.0, 5.5, 6.0, 7.0, 8.0, 9.0, 10.0, 12.0, 14.0, 17.0, 20.0),
)
"""Blur radii that are told apart, pixels."""

CELL = 8
"""Side in pixels of the squares that blur is estimated in."""

LEAST_RADIUS = 0.5
"""Photos with no larger blur radius than this anywhere are left as they are, pixels."""

SOFTNESS = 1.0
"""Up to this radius in pixels, blur that is everywhere comes from scaling and not from the lens, and stays."""

SHARP_SHARE = 0.02
"""Least share of a photo's cells that its lens has in focus; their radius is what the whole photo is soft by."""

DEPTH_MARGIN = 0.9
"""A map is believed if the lens that fits it best explains cells by no more than this many nats a cell worse than each
cell's own best radius does. Right maps lose 0.3 to 0.8 at nine photos of ten, the zero map 1.2 to 2.1 (docs/log.md)."""

DEPTHLESS_DIVISOR = 4
"""Without depth radii are less certain, and the deconvolution takes this many times fewer iterations."""

LONG_RUN = 3
"""The last stage takes this many times the iterations of the one before: for strong blur that is known well."""

STOPPING_BANDS = (1.0, 2.0, 4.0)
"""Radii of the bands that show where the deconvolution has gone too far, pixels."""

STOPPING_WIDTH = 32
"""Channels of the network that chooses between stages."""

STOPPING_PRIOR = 4.0
"""Logit of the stage of `iterations` before training, the others having 0: it gets 96 % of the mixture."""


@dataclass(frozen=True)
class Restored:
    """A photo and what undoing its blur gives.

    Args:
        image: ``(B, 3, H, W)`` display values in [0, 1].
        radius: ``(B, 1, H, W)`` estimated blur radius of the photo, pixels.
    """

    image: Tensor
    radius: Tensor


@dataclass(frozen=True)
class Stages:
    """A photo on its way to less blur.

    Args:
        images: ``(B, 3, 3, H, W)`` display values in [0, 1]: as it is, after `iterations`, after :data:`LONG_RUN` times
            as many.
        radius: ``(B, 1, H, W)`` estimated blur radius of the photo, pixels.
    """

    images: Tensor
    radius: Tensor


class DefocusRemoval(ModelMixin, ConfigMixin):
    """Estimates a photo's own blur and undoes it.

    A small convolutional network tells from blur bands, their energies and their shapes, which radius each cell of the
    photo was blurred with. Where depth is known, the focus planes and levels that fit all cells give the radii (paper
    eq. 7); where no lens fits the map, each cell's neighbourhood does. Deconvolution is by the renderer's own discs
    (`richardson_lucy_steps`): it is as good as that model of a lens and the map are. How many steps are right depends
    on the radius and on how well it is known: a second network chooses, place by place.

    Args:
        width: Channels of the network.
        depth: Its layers over cells, each of which sees one cell further.
        gamma: Light is ``image ** gamma``.
        iterations: Of the deconvolution, where depth is known.

    Examples:
        >>> restoration = diffcam.models.load_restoration("diffcam-tiny")
        >>> found = restoration(torch.rand(1, 3, 64, 96), torch.zeros(1, 1, 64, 96))
        >>> found.image.shape, found.radius.shape
        (torch.Size([1, 3, 64, 96]), torch.Size([1, 1, 64, 96]))
    """

    @register_to_config
    def __init__(self, width: int = 128, depth: int = 8, gamma: float = DISPLAY_GAMMA, iterations: int = 20) -> None:
        super().__init__()
        self.gamma = gamma
        self.iterations = iterations
        half = width // 2
        self.shapes = nn.Sequential(
            *(nn.Conv2d(len(BANDS), half, 5, stride=2, padding=2), nn.GELU()),
            *(nn.Conv2d(half, half, 3, stride=2, padding=1), nn.GELU()),
            *(nn.Conv2d(half, width, 3, stride=2, padding=1), nn.GELU()),
        )  # from pixels to cells: a factor of CELL
        inputs = len(BANDS) + 1 + width
        self.layers = nn.ModuleList(nn.Conv2d(n, width, 3, padding=1) for n in (inputs, *[width] * (depth - 1)))
        self.head = nn.Conv2d(width, len(RADII), 1)
        choice = nn.Conv2d(STOPPING_WIDTH, 3, 3, padding=1)
        nn.init.zeros_(choice.weight)
        choice.bias = nn.Parameter(torch.tensor([0.0, STOPPING_PRIOR, 0.0]))
        self.stopping = nn.Sequential(
            *(nn.Conv2d(3 * len(STOPPING_BANDS) + 1, STOPPING_WIDTH, 3, padding=1), nn.GELU()),
            *(nn.Conv2d(STOPPING_WIDTH, STOPPING_WIDTH, 3, padding=1), nn.GELU()),
            choice,
        )
        self.register_buffer("radii", torch.tensor(RADII), persistent=False)
        self.register_buffer("shares", torch.full((len(RADII),), 1 / len(RADII)))  # of the radii in training

    def logits(self, image_B3HW: Tensor) -> Tensor:
        """How likely each cell of a photo was blurred with each of :data:`RADII`, ``(B, K, H / CELL, W / CELL)``."""
        bands = blur_bands(image_B3HW, BANDS)
        brightness = F.avg_pool2d(image_B3HW.mean(1, keepdim=True), CELL)
        shapes = self.shapes(normalise_contrast(bands.mean(2), CELL))
        features = torch.cat([band_energies(bands, CELL), brightness, shapes], dim=1)
        for number, layer in enumerate(self.layers):
            found = F.gelu(layer(features))
            features = found if number == 0 else features + found
        return self.head(features)

    @torch.no_grad()
    def estimate(self, image_B3HW: Tensor, disparity_B1HW: Tensor) -> tuple[Tensor, Tensor]:
        """Blur radius of a photo in pixels, ``(B, 1, H, W)``, and whether the map explains it, ``(B,)`` bool.

        Args:
            image_B3HW: Display values in [0, 1]; sides multiples of :data:`CELL`.
            disparity_B1HW: In [0, 1]; the zero map where depth is unknown.
        """
        logits = self.logits(image_B3HW)
        table = log_likelihoods(logits, self.shares)
        by_lens = radius_at(radius_curve(table, F.avg_pool2d(disparity_B1HW, CELL), self.radii), disparity_B1HW)
        explained = interpolate_at(table, F.avg_pool2d(by_lens, CELL), self.radii) - table.amax(dim=1, keepdim=True)
        by_depth = explained.mean((1, 2, 3)) > -DEPTH_MARGIN
        by_place = local_radius(logits.log_softmax(dim=1), self.radii)
        by_place = F.interpolate(by_place, size=by_lens.shape[-2:], mode="bilinear", align_corners=False)
        radius = torch.where(by_depth.view(-1, 1, 1, 1), by_lens, by_place)
        least = F.avg_pool2d(radius, CELL).flatten(1).quantile(SHARP_SHARE, dim=1).clamp_max(SOFTNESS)
        sharper = (radius.square() - least.square().view(-1, 1, 1, 1)).clamp_min(0).sqrt()  # squares of blurs add up
        return sharper, by_depth

    @torch.no_grad()
    def forward(self, image_B3HW: Tensor, disparity_B1HW: Tensor) -> Restored:
        """Estimate and undo; arguments as in :meth:`estimate`."""
        if image_B3HW.is_meta:  # a step that is only counted: it has no blur to find
            return Restored(image_B3HW, disparity_B1HW)
        stages = self.stages(image_B3HW, disparity_B1HW)
        return Restored(self.stop(stages), stages.radius)

    @torch.no_grad()
    def stages(self, image_B3HW: Tensor, disparity_B1HW: Tensor) -> Stages:
        """The photo, and the photo with its estimated blur undone in some steps and in more."""
        radius, by_depth = self.estimate(image_B3HW, disparity_B1HW)
        blurred = radius.amax((1, 2, 3)) > LEAST_RADIUS
        stages = [image_B3HW, image_B3HW.clone(), image_B3HW.clone()]
        for chosen, iterations in (
            (by_depth, self.iterations),
            (~by_depth, max(1, self.iterations // DEPTHLESS_DIVISOR)),
        ):
            chosen = chosen & blurred
            if chosen.any():
                stops = (iterations, LONG_RUN * iterations)
                reached = self.deconvolve(image_B3HW[chosen], radius[chosen], stops)
                for stage, image in zip(stages[1:], reached, strict=True):
                    stage[chosen] = image
        return Stages(torch.stack(stages, dim=1), radius)

    def stop(self, stages: Stages) -> Tensor:
        """Mixture of the stages, place by place: how far to go is learned; ``(B, 3, H, W)`` display values."""
        energies = [band_energies(blur_bands(image, STOPPING_BANDS), CELL) for image in stages.images.unbind(1)]
        radius = F.avg_pool2d(stages.radius, CELL).log1p()
        shares_BShw = self.stopping(torch.cat([*energies, radius], dim=1)).softmax(dim=1)
        shares = F.interpolate(shares_BShw, size=stages.radius.shape[-2:], mode="bilinear", align_corners=False)
        return (stages.images * shares[:, :, None]).sum(1)

    def deconvolve(self, image_B3HW: Tensor, radius_B1HW: Tensor, stops: Sequence[int]) -> list[Tensor]:
        """Undo discs of these radii; display values in [0, 1] after each of these growing numbers of iterations."""
        strength, round_ = disc_strength(radius_B1HW), Aperture()
        light = display_to_linear(image_B3HW.float(), self.gamma)
        _, weight = scatter_discs(torch.zeros_like(light), radius_B1HW, strength, round_)
        steps = richardson_lucy_steps(
            light,
            lambda x: scatter_discs(x, radius_B1HW, strength, round_)[0] / weight,
            lambda x: gather_discs(x / weight, radius_B1HW, strength, round_),
        )
        reached = islice(steps, stops[-1])
        sharp = [light for number, light in enumerate(reached, start=1) if number in stops]
        return [linear_to_display(light.clamp(0, 1), self.gamma) for light in sharp]
