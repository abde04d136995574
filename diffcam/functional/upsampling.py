"""Upsample a model's result to the size of the photo, guided by the photo.

Where the result is as sharp as the scaled-down photo and shows the same, the photo's pixels are taken; where it is
blurred, the result is enlarged without the photo's detail. The local gain decides: the factor that leads from the
photo's finest detail to the result's. Noise of the model does not lower it, as it is not correlated with the photo.

Shapes: H x W is the photo's size, h x w the size of the model's result ("solved pixels").
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from diffcam.camera import Aperture
from diffcam.functional.bokeh import Scatter
from diffcam.functional.disc import disc_strength
from diffcam.functional.frame import resize
from diffcam.functional.sharpness import luminance

# Each pair of limits is that of a smooth step: its first side up to the first number, its second from the second on.
BLURRED_GAIN, SHARP_GAIN = 0.5, 0.9
"""Gains at which detail counts as blurred away, and as kept; chosen on layered scenes (docs/log.md, "Carrying")."""

SAME_GAIN, SHARPENED_GAIN = 1.1, 1.4
"""Gains at which the result counts as sharp as the photo, and as sharper, where nothing is kept; chosen."""

SAME_COLOUR, OTHER_COLOUR = 0.03, 0.1
"""Smoothed absolute differences, display values, at which both show the same, and something else; chosen."""

SAME_IN_FOCUS, OTHER_IN_FOCUS = 0.08, 0.25
"""The same where the camera is in focus: larger differences are blur from beside; measured: docs/log.md, "In focus"."""

IN_FOCUS_RADIUS, OUT_OF_FOCUS_RADIUS = 0.5, 1.5
"""Blur radii in solved pixels at which a place counts as in focus, and as out of focus; chosen."""

UNCHANGED_LIGHT, CHANGED_LIGHT = 0.02, 0.2
"""Shares of a pixel's light from places with changed blur at which it counts as unchanged, and as changed; chosen."""

FLAT_POWER = 3e-4
"""Mean square of detail, display values, that the surroundings' gain is weighted with against the local one; chosen."""

BACK_PROJECTIONS = 2
"""Iterations of back-projection; measured: docs/log.md, "Taking kept regions from the photo"."""


def sharpness_gain(reference_B3HW: Tensor, result_B3HW: Tensor) -> Tensor:
    """Local gain from the finest detail of the reference to that of the result: 0 blurred away, 1 kept.

    A least-squares slope in a Gaussian window of sigma 1, regularised by that of sigma 4 where there is little detail.
    """
    reference, result = _detail(luminance(reference_B3HW)), _detail(luminance(result_B3HW))
    product, power = _smooth(reference * result, 1.0), _smooth(reference * reference, 1.0)
    wide_gain = _smooth(product, 4.0) / _smooth(power, 4.0).clamp_min(1e-9)
    return (product + FLAT_POWER * wide_gain) / (power + FLAT_POWER)


def blur_agreement(own_radius_B1HW: Tensor, defocus_B1HW: Tensor, scatter: Scatter) -> Tensor:
    """Where the photo's own blur is the blur that the camera asks for: ``(B, 1, H, W)`` in [-1, 1].

    Args:
        own_radius_B1HW: Blur radius of the photo, in solved pixels.
        defocus_B1HW: Blur radius that the camera asks for, positive in front of the focus plane.
        scatter: ``scatter_discs`` or a faster implementation: spreads foreground blur over what is in focus behind it.

    Returns:
        1 where there is no blur before or after, 0 where both blurs are equal, -1 where they differ.
    """
    asked_B1HW = defocus_B1HW.abs()
    changed_B1HW = _step((own_radius_B1HW - asked_B1HW).abs(), IN_FOCUS_RADIUS, OUT_OF_FOCUS_RADIUS)
    front_B1HW = changed_B1HW * (defocus_B1HW > 0)
    light, weight = scatter(front_B1HW.expand(-1, 3, -1, -1), asked_B1HW, disc_strength(asked_B1HW), Aperture())
    changed_B1HW = torch.maximum(changed_B1HW, _step(light[:, :1] / weight, UNCHANGED_LIGHT, CHANGED_LIGHT))
    sharp_B1HW = 1 - _step(torch.maximum(own_radius_B1HW, asked_B1HW), IN_FOCUS_RADIUS, OUT_OF_FOCUS_RADIUS)
    return sharp_B1HW * (1 - changed_B1HW) - changed_B1HW


def kept_regions(reference_B3HW: Tensor, result_B3HW: Tensor, agreement_B1HW: Tensor | None = None) -> Tensor:
    """Where the result is as sharp as the reference and shows the same: ``(B, 1, H, W)`` in [0, 1].

    Args:
        reference_B3HW: The scaled-down photo, display values.
        result_B3HW: The model's result, of the same size.
        agreement_B1HW: Of :func:`blur_agreement`: where it is 1, a softer result is an error of the model and the
            reference is kept; where it is -1, nothing is kept. None: unknown.
    """
    gain = sharpness_gain(reference_B3HW, result_B3HW)
    difference = _smooth(result_B3HW - reference_B3HW, 1.0).abs().amax(1, keepdim=True)
    kept = _step(gain, BLURRED_GAIN, SHARP_GAIN) * (1 - _step(difference, SAME_COLOUR, OTHER_COLOUR))
    if agreement_B1HW is not None:
        in_focus = agreement_B1HW.clamp_min(0) * (1 - _step(difference, SAME_IN_FOCUS, OTHER_IN_FOCUS))
        kept = torch.maximum(kept, in_focus) * (1 + agreement_B1HW.clamp_max(0))
    return kept * (1 - _step(gain, SAME_GAIN, SHARPENED_GAIN))


def upsample_result(photo_B3HW: Tensor, result_B3hw: Tensor, agreement_B1hw: Tensor | None = None) -> Tensor:
    """Enlarge a result to the photo's size, with the regions that were sharp and stay sharp taken from the photo.

    Scaled down again, the output is the small result with the photo in its kept regions: enlarging alone would soften
    it, so the difference is added back (iterative back-projection).

    Args:
        photo_B3HW: The photo, display values in [0, 1], of any size.
        result_B3hw: The model's result for the whole photo, at the size at which it was solved.
        agreement_B1hw: See :func:`kept_regions`.

    Returns:
        ``(B, 3, H, W)`` in [0, 1].
    """
    full, small = ((image.shape[-2], image.shape[-1]) for image in (photo_B3HW, result_B3hw))
    reference = resize(photo_B3HW, small)
    kept = kept_regions(reference, result_B3hw, agreement_B1hw)
    result = torch.lerp(result_B3hw, reference, kept)
    output = photo_B3HW - resize(reference, full)
    output.mul_(resize(kept, full)).add_(resize(result, full)).clamp_(0, 1)
    for _ in range(BACK_PROJECTIONS):
        missing = result - resize(output, small)
        output.add_(F.interpolate(missing, full, mode="bicubic", antialias=True)).clamp_(0, 1)
    return output


def _detail(image_B1HW: Tensor) -> Tensor:
    """High-pass: the image minus its 3x3 mean."""
    return image_B1HW - F.avg_pool2d(F.pad(image_B1HW, (1, 1, 1, 1), mode="replicate"), 3, stride=1)


def _smooth(image_BCHW: Tensor, sigma: float) -> Tensor:
    """Gaussian blur with replicated borders."""
    reach = round(3 * sigma)
    offsets = torch.arange(-reach, reach + 1, dtype=image_BCHW.dtype, device=image_BCHW.device)
    weights = torch.exp(-0.5 * (offsets / sigma) ** 2)
    channels = image_BCHW.shape[1]
    weights = (weights / weights.sum()).expand(channels, 1, 1, -1)
    rows = F.conv2d(F.pad(image_BCHW, (reach, reach, 0, 0), mode="replicate"), weights, groups=channels)
    padded = F.pad(rows, (0, 0, reach, reach), mode="replicate")
    return F.conv2d(padded, weights.transpose(2, 3), groups=channels)


def _step(value: Tensor, low: float, high: float) -> Tensor:
    """Smooth step from 0 at ``low`` to 1 at ``high``."""
    share = ((value - low) / (high - low)).clamp(0, 1)
    return share * share * (3 - 2 * share)
