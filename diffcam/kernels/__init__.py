"""The renderer's public function and its fast backends, each tested against ``diffcam.functional.bokeh``."""

from __future__ import annotations

import torch
from torch import Tensor

from diffcam.camera import Aperture
from diffcam.functional.bokeh import PAPER_GAMMA, average_discs, check_bokeh_inputs, render_bokeh_reference
from diffcam.functional.occlusion import composite_layers
from diffcam.kernels.scatter import scatter_discs

__all__ = ["MODES", "render_bokeh"]

MODES = {"classical": average_discs, "occlusion": composite_layers}
"""How light is spread, by the name of the mode as users give it."""


def render_bokeh(
    image: Tensor,
    disparity: Tensor,
    focus_disparity: Tensor,
    bokeh: Tensor,
    gamma: float = PAPER_GAMMA,
    *,
    aperture: Aperture | None = None,
    highlights: bool = False,
    mode: str = "classical",
) -> Tensor:
    """Render an all-in-focus image as a camera focused at ``focus_disparity`` would see it.

    Args:
        image: ``(B, 3, H, W)`` float, display values in [0, 1], or above for light brighter than white; computed in
            float32, whatever the dtype.
        disparity: ``(B, 1, H, W)`` float in [0, 1], 1 nearest; nothing is normalised inside.
        focus_disparity: ``(B,)`` disparity in focus.
        bokeh: ``(B,)`` pixels (of this tensor) of blur radius per unit of disparity.
        gamma: 1 to 5; light is ``image ** gamma``.
        aperture: Shape of the opening; None is round.
        highlights: Brighten what is bright and out of focus first.
        mode: ``classical``: BokehMe's definition, without an order of depth; ``occlusion``: near surfaces cover far
            ones and are translucent at their blurred rims.

    Returns:
        ``(B, 3, H, W)`` display values in the image's range.

    Raises:
        ValueError: If a shape, a number or the mode does not fit.

    Examples:
        >>> image, disparity = torch.rand(1, 3, 64, 96), torch.linspace(0, 1, 96).expand(1, 1, 64, 96)
        >>> blurred = render_bokeh(image, disparity, torch.tensor([1.0]), torch.tensor([8.0]), gamma=2.2)
        >>> bool(blurred[..., :48].std() < blurred[..., 48:].std())  # the right half is nearly in focus
        True
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
    check_bokeh_inputs(image, disparity, focus_disparity, bokeh, gamma)
    if image.is_meta:  # a step that is only counted: it has no discs to draw
        return torch.empty_like(image)
    tensors = image.float(), disparity.float(), focus_disparity.float(), bokeh.float()
    result = render_bokeh_reference(*tensors, gamma, aperture, highlights, MODES[mode], scatter_discs)
    return result.to(image.dtype)
