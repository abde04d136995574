"""DeblurNet: a photo and its blur radii in, the photo in focus everywhere out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn import functional as F

from diffcam.functional.bokeh import display_to_linear, linear_to_display
from diffcam.functional.wiener import wiener_deconvolution
from diffcam.models.unet import GatedUNet

GAMMA = 2.2
"""Exponent of the light that is deconvolved: that of a display."""

WIENER_NOISES = (0.002, 0.02)
"""Powers of noise over that of the picture that it is deconvolved with: a clean picture's and a noisy one's."""

RADIUS_UNIT = 8.0
"""Pixels of radius that the network sees as 1."""

SHARP, BLURRED = 0.3, 1.0
"""Radii in pixels: up to the first the photo stays as it is, from the second on the network is free."""

REACHES = (1, 2, 4, 8, 16)
"""Distances in pixels at which a disc as large is looked for: its light falls on what is in focus, too."""


class DeblurNet(ModelMixin, ConfigMixin):
    """A convolutional U-Net that corrects two Wiener deconvolutions.

    Args:
        channels: See :class:`GatedUNet`.
        blocks: Of each level, on the way down and again on the way up.
        largest_radius: Pixels; larger ones are told as this.

    Examples:
        >>> network = DeblurNet(channels=(8, 8), blocks=(1, 1))
        >>> network(torch.rand(1, 3, 64, 96), torch.full((1, 1, 64, 96), 3.0)).shape
        torch.Size([1, 3, 64, 96])
    """

    @register_to_config
    def __init__(
        self, channels: Sequence[int] = (48, 80, 128), blocks: Sequence[int] = (2, 2, 3), largest_radius: float = 20.0
    ) -> None:
        super().__init__()
        self.largest_radius = largest_radius
        self.unet = GatedUNet(5 + 3 * len(WIENER_NOISES), channels, down=blocks, up=blocks[:-1])
        self.leave = nn.Conv2d(channels[0], (3 + len(WIENER_NOISES)) * 4, 3, padding=1)
        for weight in self.leave.parameters():  # the photo itself, before training
            nn.init.zeros_(weight)

    def forward(self, photo_B3HW: Tensor, radius_B1HW: Tensor) -> Tensor:
        """The photo in focus everywhere.

        Args:
            photo_B3HW: Display values in [0, 1].
            radius_B1HW: Signed blur radius in pixels, positive in front of the focus plane; not negative anywhere
                where that is not known.

        Returns:
            Display values ``(B, 3, H, W)``; the photo's own where its radius, and that of what is around, is below
            ``SHARP``. Not clipped in training.
        """
        radius_B1HW = radius_B1HW.clamp(-self.largest_radius, self.largest_radius)
        with torch.no_grad():
            light_B3HW = display_to_linear(photo_B3HW, GAMMA)
            deconvolved = [
                wiener_deconvolution(light_3HW, radius_1HW, WIENER_NOISES)
                for light_3HW, radius_1HW in zip(light_B3HW, radius_B1HW, strict=True)
            ]
            wiener_BN3HW = linear_to_display(torch.stack(deconvolved).clamp(0, 1), GAMMA)
        told_B2HW = torch.cat([radius_B1HW, radius_B1HW.abs()], dim=1) / RADIUS_UNIT
        seen_BCHW = torch.cat([photo_B3HW, wiener_BN3HW.flatten(1, 2), told_B2HW], dim=1)
        found_BCHW = F.pixel_shuffle(self.leave(self.unet(seen_BCHW)), 2).float()
        found_BCHW = found_BCHW[..., : photo_B3HW.shape[-2], : photo_B3HW.shape[-1]]
        # Three channels are added; the others say how much of each deconvolution is believed.
        belief_BN1HW = found_BCHW[:, 3:, None]
        residual_B3HW = found_BCHW[:, :3] + (belief_BN1HW * (wiener_BN3HW - photo_B3HW[:, None])).sum(1)
        opening_B1HW = ((light_reach(radius_B1HW) - SHARP) / (BLURRED - SHARP)).clamp(0, 1)
        result_B3HW = photo_B3HW + opening_B1HW * residual_B3HW
        return result_B3HW if self.training else result_B3HW.clamp(0, 1)


def light_reach(radius_B1HW: Tensor) -> Tensor:
    """The radius of the largest disc whose light may fall on each pixel: its own, or one at most as far as it is large.

    Distances are taken in squares whose half sides are ``REACHES``.
    """
    size_B1HW = radius_B1HW.abs()
    reached_B1HW = size_B1HW
    for reach in REACHES:
        large_B1HW = torch.where(size_B1HW >= reach, size_B1HW, 0.0)
        if not bool(large_B1HW.any()):
            break
        for side in ((2 * reach + 1, 1), (1, 2 * reach + 1)):
            large_B1HW = F.max_pool2d(large_B1HW, side, stride=1, padding=(side[0] // 2, side[1] // 2))
        reached_B1HW = torch.maximum(reached_B1HW, large_B1HW)
    return reached_B1HW
