"""Pairs to learn deblurring from: what a camera files of layered surfaces out of focus, and of the same in focus."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from diffcam.camera import Aperture
from diffcam.functional.camera_pipeline import gaussian_blur, jpeg, light_deviation, sensor_noise, sharpen, tone_curve
from diffcam.functional.layered_lens import Layer, all_in_focus, lens_disc, photograph
from diffcam.functional.wiener import smooth_side
from diffcam.photo.pixels import round_to_8_bit
from diffcam.simulation.draws import Draws
from diffcam.simulation.layered.silhouettes import HANGING, STANDING
from diffcam.simulation.textures.photos import Textures

LEAST_LARGEST_RADIUS = 0.7
"""Pixels; the largest radius of a pair is drawn from here on, log-uniformly."""


class LensPair(NamedTuple):
    """One sample, or a batch of them with a leading axis.

    Args:
        photo: What the camera files, display values of 8 bits in [0, 1], ``(3, H, W)``.
        sharp: The same scene and camera in focus everywhere, without noise and compression, ``(3, H, W)``.
        radius: Signed blur radius in pixels, positive in front of the focus plane, ``(1, H, W)``.
        told: The same as somebody tells it, with errors.
        disparity: Growing with the radius by a factor and an offset, in [0, 1], as a map has it, with errors.
        lens: Of the pair without errors: the disparity in focus, and pixels of radius per unit of disparity.
    """

    photo: Tensor
    sharp: Tensor
    radius: Tensor
    told: Tensor
    disparity: Tensor
    lens: Tensor


@dataclass(frozen=True)
class FileCamera:
    """A camera between light and file.

    Args:
        exposure: Factor of the light.
        gamma: Exponent of the display.
        contrast: Of the S-curve, see :func:`tone_curve`.
        softness: Deviation in pixels of the lens's own blur, in focus.
        noise: Standard deviation of the noise of a middle grey, in display values.
        grain: Deviation in pixels that the noise is smoothed by.
        sharpening: Amount of unsharp masking over 1 px.
        scale: The sensor has this many pixels to one of the file.
        quality: Of the JPEG file; 0: not compressed.
        subsampled: Whether the file keeps colour at half the size.
    """

    exposure: float
    gamma: float
    contrast: float
    softness: float
    noise: float
    grain: float
    sharpening: float
    scale: float
    quality: int
    subsampled: bool

    @classmethod
    def draw(cls, draws: Draws) -> FileCamera:
        """A camera from that of a careful photographer to that of a telephone at night."""
        return cls(
            exposure=2 ** draws.uniform(-0.7, 0.4),
            gamma=draws.uniform(1.8, 2.6) if draws.chance(0.75) else draws.uniform(1.0, 1.8),
            contrast=draws.uniform(-0.2, 0.6) if draws.chance(0.5) else 0.0,
            softness=draws.uniform(0.3, 0.8) if draws.chance(0.5) else 0.0,
            noise=math.exp(draws.uniform(math.log(0.2), math.log(6.0))) / 255,
            grain=draws.uniform(0.4, 1.0) if draws.chance(0.5) else 0.0,
            sharpening=draws.uniform(0.2, 1.0) if draws.chance(0.3) else 0.0,
            scale=1.5 if draws.chance(0.2) else 1.0,
            quality=draws.integer(50, 98) if draws.chance(0.7) else 0,
            subsampled=draws.chance(0.6),
        )

    def develop(self, light_3HW: Tensor) -> Tensor:
        """Display values of the light, without noise and compression, at the sensor's size."""
        display_3HW = tone_curve(gaussian_blur(light_3HW, self.softness) * self.exposure, self.gamma, self.contrast)
        return sharpen(display_3HW, self.sharpening, 1.0) if self.sharpening else display_3HW

    def file(self, light_3HW: Tensor, side: int, draws: Draws) -> Tensor:
        """What is filed of the light, ``(3, side, side)`` in 8 bits."""
        light_3HW = gaussian_blur(light_3HW, self.softness) * self.exposure
        deviation = light_deviation(self.noise, self.gamma)
        light_3HW = sensor_noise(light_3HW, deviation, self.grain, draws.generator)
        display_3HW = tone_curve(light_3HW, self.gamma, self.contrast)
        if self.sharpening:
            display_3HW = sharpen(display_3HW, self.sharpening, 1.0)
        display_3HW = resized(display_3HW, side)
        if self.quality == 0:
            return round_to_8_bit(display_3HW)
        shift = draws.integer(0, 15), draws.integer(0, 15)
        return jpeg(display_3HW, self.quality, self.subsampled, shift)


def resized(image_CHW: Tensor, side: int) -> Tensor:
    """Scaled to a square of this side by antialiased interpolation."""
    if image_CHW.shape[-1] == side:
        return image_CHW
    return F.interpolate(image_CHW[None], (side, side), mode="bilinear", antialias=True)[0]


class LensPairs(torch.utils.data.Dataset[LensPair]):
    """Endless pairs; number ``i`` depends on (textures, side, largest radius, seed, i) alone.

    Args:
        textures: Where surfaces come from.
        side: Of the square pictures in pixels.
        largest_radius: Pixels.
        sharp_share: Share of the pairs in which nothing is blurred.
        seed: Names the sequence.
    """

    def __init__(
        self,
        textures: Textures,
        side: int = 128,
        largest_radius: float = 20.0,
        sharp_share: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.textures = textures
        self.side = side
        self.largest_radius = largest_radius
        self.sharp_share = sharp_share
        self.seed = seed

    def __getitem__(self, index: int) -> LensPair:
        """Pair number ``index``, any non-negative integer."""
        draws = Draws("lens-pairs", self.seed, index)
        camera = FileCamera.draw(draws)
        largest = math.exp(draws.uniform(math.log(LEAST_LARGEST_RADIUS), math.log(self.largest_radius))) * camera.scale
        if draws.chance(self.sharp_share):
            largest = 1e-3
        inner = round(self.side * camera.scale)
        outer = smooth_side(inner + 2 * (math.ceil(1.5 * largest) + 2))
        layers = self._layers(draws, outer, largest, camera.gamma)
        edge, rim = draws.uniform(0.25, 2.0), draws.uniform(-0.6, 0.6) if draws.chance(0.4) else 0.0
        aperture = Aperture(draws.integer(5, 9), draws.uniform(0, math.pi)) if draws.chance(0.3) else Aperture()
        cut = (draws.uniform(-0.5, 0.5), draws.uniform(-0.5, 0.5)) if draws.chance(0.2) else (0.0, 0.0)
        falloff = draws.uniform(0.0, 2.0) if draws.chance(0.35) else 0.0
        blurred_3HW = photograph(layers, lambda radius: lens_disc(radius, edge, rim, aperture, cut, falloff))
        sharp_3HW, radius_1HW = all_in_focus(layers)
        margin = (outer - inner) // 2
        window = (..., slice(margin, margin + inner), slice(margin, margin + inner))
        photo_3HW = camera.file(blurred_3HW[window], self.side, draws)
        sharp_3HW = resized(camera.develop(sharp_3HW[window]), self.side)
        told_1HW = resized(self._told(draws, radius_1HW, largest)[window], self.side) / camera.scale
        radius_1HW = resized(radius_1HW[window], self.side) / camera.scale
        return LensPair(photo_3HW, sharp_3HW, radius_1HW, told_1HW, *self._mapped(draws, radius_1HW))

    def _layers(self, draws: Draws, side: int, largest: float, gamma: float) -> list[Layer]:
        """A ground and up to three cut-outs before it, from far to near."""
        count = 1 + draws.choice((0, 0, 1, 1, 1, 2, 2, 3))
        depth = np.sort(draws.uniforms((count,)))
        focused = count > 1 and draws.chance(0.75)
        defocus = depth - (depth[draws.integer(0, count - 1)] if focused else draws.uniform(-0.3, 1.3))
        defocus = defocus / max(np.abs(defocus).max(), 1e-3) * largest
        across = np.linspace(-1, 1, side, dtype=np.float32)
        highlights = draws.uniform(1.0, 5.0) if draws.chance(0.3) else 0.0
        layers = []
        for number, radius in enumerate(defocus):
            smooth = number == 0 and draws.chance(0.3)
            colour = (self.textures.backdrop if smooth else self.textures.surface)(draws, side, side)
            light = (colour.astype(np.float32) / 255) ** gamma * draws.uniforms((3,), 0.7, 1.2).astype(np.float32)
            light_3HW = torch.from_numpy(light).permute(2, 0, 1).contiguous()
            if highlights:
                light_3HW = light_3HW * (1 + highlights * ((light_3HW.mean(0) - 0.6) / 0.4).clamp(0, 1).square())
            slope = draws.uniforms((2,), -0.5, 0.5) * largest * draws.chance(0.35)
            ramp = slope[0] * across[:, None] + slope[1] * across
            radius_HW = np.clip(radius + ramp, -largest, largest).astype(np.float32)
            coverage_HW = np.ones((side, side), np.float32) if number == 0 else self._coverage(draws, side)
            layers.append(Layer(light_3HW, torch.from_numpy(coverage_HW)[None], torch.from_numpy(radius_HW)[None]))
        return layers

    @staticmethod
    def _coverage(draws: Draws, side: int) -> np.ndarray:
        """A cut-out: of smooth noise at a threshold, or an object somewhere in the frame."""
        if draws.chance(0.5):
            cells = draws.integer(3, 12)
            noise_11hw = torch.from_numpy(draws.normals((1, 1, cells, cells)).astype(np.float32))
            noise_HW = F.interpolate(noise_11hw, (side, side), mode="bicubic", align_corners=False)[0, 0]
            sharpness = side / cells / 2  # an edge of about a pixel
            return np.asarray(((noise_HW + draws.uniform(-0.7, 0.5)) * sharpness + 0.5).clamp(0, 1))
        height, width = (max(8, round(side * draws.uniform(0.4, 1.2))) for _ in range(2))
        alpha = draws.choice(STANDING + HANGING)(draws, height, width)
        if draws.chance(0.5):
            alpha = alpha[:, ::-1]
        top, left = draws.integer(-height // 2, side - height // 2), draws.integer(-width // 2, side - width // 2)
        coverage_HW = np.zeros((side, side), np.float32)
        y0, x0, y1, x1 = max(top, 0), max(left, 0), min(top + height, side), min(left + width, side)
        coverage_HW[y0:y1, x0:x1] = alpha[y0 - top : y1 - top, x0 - left : x1 - left]
        return coverage_HW

    @staticmethod
    def _told(draws: Draws, radius_1HW: Tensor, largest: float) -> Tensor:
        """The radius as a map, a level and a focus point tell it: off by a factor and an offset, soft, displaced."""
        told_1HW = radius_1HW * math.exp(0.1 * float(draws.normals((1,))[0]))
        if draws.chance(0.5):
            told_1HW = told_1HW + 0.04 * largest * float(draws.normals((1,))[0])
        if draws.chance(0.3):
            told_1HW = told_1HW.roll((draws.integer(-3, 3), draws.integer(-3, 3)), (1, 2))
        if draws.chance(0.5):
            told_1HW = gaussian_blur(told_1HW, draws.uniform(1.0, 4.0))
        # Where no map tells what lies in front, radii have no sign.
        return told_1HW.abs() if draws.chance(0.15) else told_1HW

    @staticmethod
    def _mapped(draws: Draws, radius_1HW: Tensor) -> tuple[Tensor, Tensor]:
        """A map of disparity that belongs to these radii, with its errors, and the lens: focus plane and level."""
        low, high = float(radius_1HW.min()), float(radius_1HW.max())
        spread = draws.uniform(0.15, 1.0)
        base = draws.uniform(0.0, 1.0 - spread)
        if high - low < 0.2:  # one plane, or none out of focus: any map goes with it
            level = 0.0 if max(abs(low), abs(high)) < 0.05 else draws.uniform(0.0, 60.0)
            plane = base - (low + high) / 2 / level if level else base
            disparity_1HW = torch.full_like(radius_1HW, base)
            if not level:  # in focus everywhere, whatever the depth
                cells = draws.integer(2, 5)
                noise_11hw = torch.from_numpy(draws.normals((1, 1, cells, cells)).astype(np.float32))
                wave_1HW = F.interpolate(noise_11hw, radius_1HW.shape[1:], mode="bicubic", align_corners=False)[0]
                disparity_1HW = (base + spread * (wave_1HW - wave_1HW.min()) / (wave_1HW.max() - wave_1HW.min())).clamp(
                    0, 1
                )
            return disparity_1HW, torch.tensor([plane, level])
        level = (high - low) / spread
        plane = base - low / level
        disparity_1HW = plane + radius_1HW / level
        if draws.chance(0.5):  # curved, as relative depth is
            bend = math.exp(draws.uniform(-0.4, 0.4))
            disparity_1HW = base + spread * ((disparity_1HW - base) / spread).clamp(0, 1) ** bend
        if draws.chance(0.5):
            disparity_1HW = gaussian_blur(disparity_1HW, draws.uniform(1.0, 6.0))
        if draws.chance(0.3):
            disparity_1HW = disparity_1HW.roll((draws.integer(-5, 5), draws.integer(-5, 5)), (1, 2))
        if draws.chance(0.5):
            cells = draws.integer(2, 8)
            noise_11hw = torch.from_numpy(draws.normals((1, 1, cells, cells)).astype(np.float32))
            wave_1HW = F.interpolate(noise_11hw, radius_1HW.shape[1:], mode="bicubic", align_corners=False)[0]
            disparity_1HW = disparity_1HW + draws.uniform(0.0, 0.12) * spread * wave_1HW
        return disparity_1HW.clamp(0, 1), torch.tensor([plane, level])
