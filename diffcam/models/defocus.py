"""DefocusNet: how much each place of a photo is blurred, and by which lens if a map tells the depth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional as F

from diffcam.functional.lens_fit import RADII, lens_radii, lens_scores, radius_at
from diffcam.models.unet import GatedUNet

OBSERVATIONS = 10.0
"""Independent ones that a photo's cells of weight 1 count as."""

CELL = 4
"""Side in pixels of the squares that blur is told of."""


@dataclass(frozen=True)
class Defocus:
    """What was found.

    Args:
        logits: ``(B, K, h, w)`` of the probability of each of :data:`RADII` in each cell, from what is seen there.
        lenses: ``(B, N)`` log-probability of every lens of the grid, from the map; None where there is no map.
    """

    logits: Tensor
    lenses: Tensor | None


class DefocusNet(ModelMixin, ConfigMixin):
    """A convolutional U-Net that weighs what it sees in each cell.

    Args:
        channels: See :class:`GatedUNet`.
        blocks: Of each level on the way down.

    Examples:
        >>> network = DefocusNet(channels=(8, 8, 8), blocks=(1, 1, 1))
        >>> network.radius(torch.rand(1, 3, 64, 96), torch.rand(1, 1, 64, 96)).shape
        torch.Size([1, 1, 64, 96])
    """

    @register_to_config
    def __init__(self, channels: Sequence[int] = (24, 48, 72, 96), blocks: Sequence[int] = (1, 2, 3, 3)) -> None:
        super().__init__()
        self.unet = GatedUNet(5, channels, down=blocks, up=[1] * (len(channels) - 2), finest=1)
        self.posterior = nn.Conv2d(channels[1], len(RADII), 3, padding=1)
        self.weight = nn.Conv2d(channels[1], 1, 3, padding=1)
        for head in (self.posterior, self.weight):  # nothing is known before training
            for weight in head.parameters():
                nn.init.zeros_(weight)
        self.prior = nn.Parameter(torch.zeros(len(RADII), 1, 1))
        self.register_buffer("radii", torch.tensor(RADII), persistent=False)

    def forward(self, photo_B3HW: Tensor, disparity_B1HW: Tensor | None) -> Defocus:
        """What each cell shows, and which lens.

        Args:
            photo_B3HW: Display values in [0, 1].
            disparity_B1HW: In [0, 1]; None where there is no map.
        """
        given = disparity_B1HW is not None
        map_B1HW = disparity_B1HW if disparity_B1HW is not None else torch.zeros_like(photo_B3HW[:, :1])
        seen_B5HW = torch.cat([photo_B3HW, map_B1HW, torch.full_like(map_B1HW, float(given))], dim=1)
        x = self.unet(seen_B5HW)
        logits_BKhw = self.posterior(x).float()
        if disparity_B1HW is None:
            return Defocus(logits_BKhw, None)
        # A posterior over its prior is a likelihood; how much one says about the lens is learned, place by place.
        evidence_BKhw = F.softplus(self.weight(x).float()) * (logits_BKhw.log_softmax(1) - self.prior)
        map_B1hw = F.interpolate(disparity_B1HW, logits_BKhw.shape[-2:], mode="area")
        scores_BN = lens_scores(evidence_BKhw, map_B1hw) * OBSERVATIONS
        return Defocus(logits_BKhw, scores_BN.log_softmax(dim=1))

    @torch.no_grad()
    def radius(self, photo_B3HW: Tensor, disparity_B1HW: Tensor | None) -> Tensor:
        """Expected blur radius in pixels, ``(B, 1, H, W)``: signed with a map, positive in front; else its size."""
        found = self(photo_B3HW, disparity_B1HW)
        if found.lenses is not None and disparity_B1HW is not None:
            curve_BD = (found.lenses.exp() @ lens_radii(photo_B3HW.device)).float()  # bfloat16 where products are
            return radius_at(curve_BD, disparity_B1HW)
        size_B1hw = (found.logits.softmax(1) * self.radii.view(-1, 1, 1)).sum(1, keepdim=True)
        return F.interpolate(size_B1hw, photo_B3HW.shape[-2:], mode="bilinear", align_corners=False)
