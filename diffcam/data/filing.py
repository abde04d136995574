"""What a camera's file does to a training photo: noise and compression, drawn anew for each sample."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffcam.functional.bokeh import DISPLAY_GAMMA, display_to_linear, linear_to_display
from diffcam.functional.camera_pipeline import jpeg, light_deviation, sensor_noise
from diffcam.photo.pixels import round_to_8_bit


class Filing:
    """Noise of a sensor, then, for a share of the photos, JPEG; 8 bits.

    A model that is trained on clean renders takes the noise of a photo for detail.

    Args:
        noise: Range of the noise's standard deviation at a middle grey, drawn log-uniformly, in steps of 8 bits.
        compressed: Share of the photos that are compressed.
        quality: Range of the JPEG quality, 1 to 100.

    Raises:
        ValueError: If a range is not in order or a number is outside its own.

    Examples:
        >>> filed = Filing(noise=(2.0, 2.0), compressed=0.0)(torch.full((3, 64, 64), 0.46), torch.Generator())
        >>> (filed * 255).std().round()
        tensor(2.)
    """

    def __init__(
        self,
        noise: tuple[float, float] = (0.2, 6.0),
        compressed: float = 0.7,
        quality: tuple[int, int] = (50, 98),
    ) -> None:
        if not 0 < noise[0] <= noise[1]:
            raise ValueError(f"noise must be a range of positive numbers, got {noise}")
        if not 0.0 <= compressed <= 1.0:
            raise ValueError(f"compressed must lie in [0, 1], got {compressed}")
        if not 1 <= quality[0] <= quality[1] <= 100:
            raise ValueError(f"quality must be a range within 1 to 100, got {quality}")
        self.noise = noise
        self.compressed = compressed
        self.quality = quality

    def __call__(self, display_3HW: Tensor, generator: torch.Generator) -> Tensor:
        """What is filed of a picture, display values in [0, 1]; the argument is left as it is."""
        noise, smooth, grain, compressed, quality, subsampled = torch.rand(6, generator=generator).tolist()
        deviation = self.noise[0] * (self.noise[1] / self.noise[0]) ** noise / 255
        light_3HW = display_to_linear(display_3HW, DISPLAY_GAMMA)
        smoothed_by = 0.4 + 0.6 * grain if smooth < 0.5 else 0.0  # pixels
        noisy_3HW = sensor_noise(light_3HW, light_deviation(deviation, DISPLAY_GAMMA), smoothed_by, generator)
        filed_3HW = linear_to_display(noisy_3HW.clamp(0, 1), DISPLAY_GAMMA)
        if compressed >= self.compressed:
            return round_to_8_bit(filed_3HW)
        shift = torch.randint(0, 16, (2,), generator=generator).tolist()
        worst, best = self.quality
        chosen = min(worst + math.floor(quality * (best - worst + 1)), best)
        return jpeg(filed_3HW, chosen, subsampled < 0.6, (shift[0], shift[1]))
