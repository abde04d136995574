"""BokehMe's neural renderer: two small networks that correct the classical renderer where its error is large.

Rebuilt from the published description (Peng et al., "BokehMe: When Neural Rendering Meets Classical Rendering", CVPR
2022) with the layer names of the released checkpoints, so that those load. B images, C channels, H rows, W columns.
"""

from __future__ import annotations

import math
from pathlib import Path
from pickle import UnpicklingError
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate, pad, pixel_shuffle, pixel_unshuffle

from diffcam.errors import DiffcamError, first_line
from diffcam.functional.bokeh import PAPER_GAMMA, boost_highlights, defocus_radius
from diffcam.kernels import render_bokeh

SHUFFLE = 2
"""Factor of pixel unshuffling: both networks work at half of their input's size (the release's value)."""

DEFOCUS_SCALE = 10.0
"""Blur radius in pixels that the networks see as 1 (the release's value)."""

GAMMA_RANGE = (1.0, 5.0)
"""Range of gamma that is scaled to [0, 1] for the networks (the release's value)."""

FILES = ("arnet.pth", "iunet.pth")
"""Names of the released checkpoints."""


def _resize(image_BCHW: Tensor, height: int, width: int) -> Tensor:
    """Bilinear, corner pixels on corner pixels, as the networks were trained."""
    return interpolate(image_BCHW, size=(height, width), mode="bilinear", align_corners=True)


def _convolution(inputs: int, outputs: int, activation: bool = True) -> nn.Sequential:
    """A 3x3 convolution named ``conv``, with ELU or without."""
    layer = nn.Sequential()
    layer.add_module("conv", nn.Conv2d(inputs, outputs, 3, padding=1))
    if activation:
        layer.add_module("activation", nn.ELU())
    return layer


class _BlockStack(nn.Module):
    """Three residual blocks of two convolutions."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            nn.Sequential(_convolution(channels, channels), _convolution(channels, channels)) for _ in range(3)
        )

    def forward(self, features_BCHW: Tensor) -> Tensor:
        for block in self.blocks:
            features_BCHW = features_BCHW + block(features_BCHW)
        return features_BCHW


class _ShuffleNetwork(nn.Module):
    """Architecture of both networks: pixel unshuffling, residual blocks, pixel shuffling."""

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        self.conv0 = _convolution(inputs, width)
        self.block_stack = _BlockStack(width)
        self.conv1 = _convolution(width, outputs * SHUFFLE**2, activation=False)

    def run(self, image_B3HW: Tensor, defocus_B1HW: Tensor, gamma: float, coarse_B3HW: Tensor | None = None) -> Tensor:
        """Features at half size, then the network's output at the size of ``image``."""
        height, width = image_B3HW.shape[-2:]
        even = (height // SHUFFLE * SHUFFLE, width // SHUFFLE * SHUFFLE)
        features = pixel_unshuffle(_resize(torch.cat([image_B3HW, defocus_B1HW], dim=1), *even), SHUFFLE)
        if coarse_B3HW is not None:
            # The one place where the corners are not aligned.
            coarse = interpolate(coarse_B3HW, size=features.shape[-2:], mode="bilinear", align_corners=False)
            features = torch.cat([features, coarse], dim=1)
        features = torch.cat([features, torch.full_like(features[:, :1], gamma)], dim=1)
        output = pixel_shuffle(self.conv1(self.block_stack(self.conv0(features))), SHUFFLE)
        return _resize(output, height, width)


class ARNet(_ShuffleNetwork):
    """Adaptive rendering network: a coarse bokeh image and the classical renderer's error map; 923,664 parameters."""

    def __init__(self) -> None:
        super().__init__(inputs=4 * SHUFFLE**2 + 1, width=128, outputs=4)

    def forward(self, image_B3HW: Tensor, defocus_B1HW: Tensor, gamma: float) -> tuple[Tensor, Tensor]:
        """Bokeh ``(B, 3, H, W)`` and error map ``(B, 1, H, W)`` in [0, 1].

        Args:
            image_B3HW: All-in-focus display values, reduced so that no radius exceeds ``DEFOCUS_SCALE``.
            defocus_B1HW: Signed radius at that size, in units of ``DEFOCUS_SCALE``.
            gamma: Scaled to [0, 1].
        """
        output = self.run(image_B3HW, defocus_B1HW, gamma)
        return output[:, :3], torch.sigmoid(output[:, 3:])


class IUNet(_ShuffleNetwork):
    """Iterative upsampling network: the bokeh image at twice the size; 240,076 parameters."""

    def __init__(self) -> None:
        super().__init__(inputs=4 * SHUFFLE**2 + 4, width=64, outputs=3)

    def forward(self, image_B3HW: Tensor, defocus_B1HW: Tensor, coarse_B3HW: Tensor, gamma: float) -> Tensor:
        """Bokeh ``(B, 3, H, W)`` at the size of ``image``, from the bokeh of the next smaller size."""
        return self.run(image_B3HW, defocus_B1HW, gamma, coarse_B3HW)


def dilate_defocus(radius_B1HW: Tensor) -> Tensor:
    """Largest signed radius, in whole pixels towards 0, of all sources whose disc covers a pixel; O(radius^2)."""
    whole_B1HW, size_B1HW = radius_B1HW.trunc(), radius_B1HW.abs()
    height, width = radius_B1HW.shape[-2:]
    largest = float(size_B1HW.max())
    reach = min(int(largest), height - 1)
    result = whole_B1HW.clone()
    for dy in range(-reach, reach + 1):
        across = min(int(math.sqrt(largest * largest - dy * dy)), width - 1)
        for dx in range(-across, across + 1):
            rows, columns = slice(max(0, -dy), height - max(0, dy)), slice(max(0, -dx), width - max(0, dx))
            target = result[..., max(0, dy) : height + min(0, dy), max(0, dx) : width + min(0, dx)]
            covers = size_B1HW[..., rows, columns] >= math.hypot(dy, dx)
            target.copy_(torch.where(covers, torch.maximum(target, whole_B1HW[..., rows, columns]), target))
    return result


class BokehMe(nn.Module):
    """The whole renderer: the classical one, with the networks' image blended in by the error map."""

    def __init__(self, arnet: ARNet, iunet: IUNet) -> None:
        super().__init__()
        self.arnet, self.iunet = arnet, iunet

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> Self:
        """Load the released ``arnet.pth`` and ``iunet.pth`` from a folder; nothing in them is executed.

        Raises:
            DiffcamError: If a file is missing or is not a checkpoint of that network.
        """
        networks = (ARNet(), IUNet())
        for network, name in zip(networks, FILES, strict=True):
            path = Path(folder) / name
            if not path.is_file():
                raise DiffcamError(
                    f"{path} not found: neural rendering needs {' and '.join(FILES)} of the BokehMe release "
                    "(github.com/JuewenPeng/BokehMe, folder checkpoints); diffcam.render_bokeh does without them"
                )
            try:
                checkpoint = torch.load(path, map_location="cpu", weights_only=True)
                network.load_state_dict(checkpoint["model"])
            except (RuntimeError, UnpicklingError, EOFError, KeyError, TypeError, AttributeError) as error:
                raise DiffcamError(f"{path} is not BokehMe's {name}: {first_line(error)}") from error
        return cls(*networks).eval()

    @torch.no_grad()
    def forward(
        self,
        image: Tensor,
        disparity: Tensor,
        focus_disparity: Tensor,
        bokeh: Tensor,
        gamma: float = PAPER_GAMMA,
        *,
        highlights: bool = False,
    ) -> Tensor:
        """Render; arguments, result and errors as ``diffcam.render_bokeh``."""
        classical = render_bokeh(image, disparity, focus_disparity, bokeh, gamma, highlights=highlights)
        radius_B1HW = defocus_radius(disparity, focus_disparity, bokeh)
        if highlights:
            image = boost_highlights(image, disparity, focus_disparity)
        scaled_gamma = (gamma - GAMMA_RANGE[0]) / (GAMMA_RANGE[1] - GAMMA_RANGE[0])
        # Images are reduced by their own largest radius, so one by one.
        results = []
        height, width = image.shape[-2:]
        images = zip(image.split(1), radius_B1HW.split(1), classical.split(1), strict=True)
        for image_13HW, radius_11HW, plain_13HW in images:
            # The networks' image is rendered small, then doubled step by step up to the image's size.
            defocus, dilated = radius_11HW / DEFOCUS_SCALE, dilate_defocus(radius_11HW) / DEFOCUS_SCALE
            reduction = max(float(defocus.abs().max()), 1.0)
            small = int(height / reduction), int(width / reduction)
            neural, error = self.arnet(_resize(image_13HW, *small), _resize(defocus, *small) / reduction, scaled_gamma)
            neural = neural.clamp_min(0)
            ratios = [2 ** (step + 1) / reduction for step in range(int(math.log2(reduction)))]
            for ratio in [*ratios, 1.0]:
                size = int(ratio * height), int(ratio * width)
                scaled = (ratio * _resize(defocus, *size)).clamp(-1, 1)
                refined = self.iunet(_resize(image_13HW, *size), scaled, neural, scaled_gamma).clamp_min(0)
                # The IUNet refines where no disc of DEFOCUS_SCALE pixels or more covers a pixel; the mask is blurred.
                mask = (ratio * _resize(dilated, *size)).abs() < 1
                reach = max(round(0.005 * sum(size)), 1)
                offsets = torch.arange(-reach, reach + 1).to(neural)
                kernel = torch.exp(-(offsets**2) / (2 * (0.3 * (reach - 1) + 0.8) ** 2))
                kernel = kernel / kernel.sum()
                mask = pad(mask.to(neural), (reach,) * 4, mode="replicate")
                mask = conv2d(conv2d(mask, kernel.view(1, 1, 1, -1)), kernel.view(1, 1, -1, 1))
                neural = mask * refined + (1 - mask) * _resize(neural, *size)
            error = _resize(error, height, width)
            results.append(plain_13HW * (1 - error) + neural * error)
        return torch.cat(results).clamp(0, 1)
