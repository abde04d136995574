"""Carry a result from the size at which it was solved to the size of the photo.

The photo is its scaled-down self plus fine detail. Where the result is as sharp as the scaled-down photo and shows the
same, the photo's pixels are taken; where it is blurred, the photo's detail is left out and the result is enlarged.
What tells the two apart is the gain: by how much the finest detail of the photo has to be multiplied, locally, to give
that of the result. Noise of the model does not lower the gain, it belongs to neither.

Shapes: "full" is the photo's size, "small" the size at which the result was solved.
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

BLURRED_GAIN, SHARP_GAIN = 0.5, 0.9
"""Below the first, detail counts as blurred away; above the second, as kept."""

SAME_GAIN, SHARPENED_GAIN = 1.1, 1.4
"""Above the second, the result is sharper than the photo, which then has nothing to give."""

SAME_COLOUR, OTHER_COLOUR = 0.03, 0.1
"""Smoothed difference, in display values, up to which both show the same and from which on they do not."""

SAME_IN_FOCUS, OTHER_IN_FOCUS = 0.08, 0.25
"""The same where the camera leaves no blur: a larger difference is the blur of something else that reaches there."""

IN_FOCUS_RADIUS, OUT_OF_FOCUS_RADIUS = 0.5, 1.5
"""Blur radii in solved pixels up to which a place is in focus and from which on it is not."""

REACHED = (0.02, 0.2)
"""Shares of light from elsewhere up to which a place counts as not reached by it, and from which on as changed."""

FLAT_POWER = 3e-4
"""Detail power below which a place has no gain of its own and takes its surroundings'."""

BACK_PROJECTIONS = 2


def sharpness_gain(reference_B3HW: Tensor, result_B3HW: Tensor) -> Tensor:
    """Local gain from the finest detail of the reference to that of the result: 0 blurred away, 1 kept.

    A least-squares slope over about five pixels, drawn towards that of about twenty-five where there is little detail.

    Returns:
        ``(B, 1, H, W)``.
    """
    reference, result = _detail(luminance(reference_B3HW)), _detail(luminance(result_B3HW))
    product, power = _smooth(reference * result, 1.0), _smooth(reference * reference, 1.0)
    wide_gain = _smooth(product, 4.0) / _smooth(power, 4.0).clamp_min(1e-9)
    return (product + FLAT_POWER * wide_gain) / (power + FLAT_POWER)


def what_stays(own_radius_B1HW: Tensor, defocus_B1HW: Tensor, scatter: Scatter) -> Tensor:
    """What blur says of where the photo's pixels are those of the result: ``(B, 1, H, W)`` in [-1, 1].

    Args:
        own_radius_B1HW: Blur radius of the photo, in solved pixels.
        defocus_B1HW: Blur radius that the camera asks for, positive in front of the focus plane.
        scatter: ``scatter_discs`` or a faster form: blur in front of the focus plane spreads over what is in focus.

    Returns:
        1 where there is no blur before or after, -1 where blur changes and so the photo has nothing to give, 0 between.
    """
    asked_B1HW = defocus_B1HW.abs()
    changed_B1HW = _step((own_radius_B1HW - asked_B1HW).abs(), IN_FOCUS_RADIUS, OUT_OF_FOCUS_RADIUS)
    front_B1HW = changed_B1HW * (defocus_B1HW > 0)
    light, weight = scatter(front_B1HW.expand(-1, 3, -1, -1), asked_B1HW, disc_strength(asked_B1HW), Aperture())
    changed_B1HW = torch.maximum(changed_B1HW, _step(light[:, :1] / weight, *REACHED))
    neither_B1HW = 1 - _step(torch.maximum(own_radius_B1HW, asked_B1HW), IN_FOCUS_RADIUS, OUT_OF_FOCUS_RADIUS)
    return neither_B1HW * (1 - changed_B1HW) - changed_B1HW


def kept_regions(reference_B3HW: Tensor, result_B3HW: Tensor, stays_B1HW: Tensor | None = None) -> Tensor:
    """Where the result is as sharp as the reference and shows the same: ``(B, 1, H, W)`` in [0, 1].

    Args:
        reference_B3HW: The scaled-down photo, display values.
        result_B3HW: What the model made of it, of the same size.
        stays_B1HW: What is known of it (`what_stays`): where it is 1, a softer result is a mistake; None: nothing.
    """
    gain = sharpness_gain(reference_B3HW, result_B3HW)
    difference = _smooth(result_B3HW - reference_B3HW, 1.0).abs().amax(1, keepdim=True)
    kept = _step(gain, BLURRED_GAIN, SHARP_GAIN) * (1 - _step(difference, SAME_COLOUR, OTHER_COLOUR))
    if stays_B1HW is not None:
        in_focus = stays_B1HW.clamp_min(0) * (1 - _step(difference, SAME_IN_FOCUS, OTHER_IN_FOCUS))
        kept = torch.maximum(kept, in_focus) * (1 + stays_B1HW.clamp_max(0))
    return kept * (1 - _step(gain, SAME_GAIN, SHARPENED_GAIN))


def upsample_result(photo_B3HW: Tensor, result_B3hw: Tensor, stays_B1hw: Tensor | None = None) -> Tensor:
    """Carry a result to the photo's size, with the regions that were sharp and stay sharp taken from the photo.

    Scaled down again, the output is the trained-size result with the photo in its kept regions: enlarging alone would
    soften it, so the difference is put back (iterative back-projection).

    Args:
        photo_B3HW: The photo, display values in [0, 1], of any size.
        result_B3hw: The model's result for the whole photo, at the size at which it was solved.
        stays_B1hw: See `kept_regions`.

    Returns:
        ``(B, 3, H, W)`` in [0, 1].
    """
    full, small = _size(photo_B3HW), _size(result_B3hw)
    reference = resize(photo_B3HW, small)
    kept = kept_regions(reference, result_B3hw, stays_B1hw)
    result = torch.lerp(result_B3hw, reference, kept)
    output = photo_B3HW - resize(reference, full)
    output.mul_(resize(kept, full)).add_(resize(result, full)).clamp_(0, 1)
    for _ in range(BACK_PROJECTIONS):
        missing = result - resize(output, small)
        output.add_(F.interpolate(missing, full, mode="bicubic", antialias=True)).clamp_(0, 1)
    return output


def _size(image_BCHW: Tensor) -> tuple[int, int]:
    return image_BCHW.shape[-2], image_BCHW.shape[-1]


def _detail(image_B1HW: Tensor) -> Tensor:
    """What a 3x3 mean takes away."""
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
