"""One camera's picture of a scene, rendered from its all-in-focus image."""

from __future__ import annotations

import torch
from torch import Tensor

from diffcam.camera import Camera
from diffcam.functional.bokeh import PAPER_GAMMA
from diffcam.kernels import MODES, render_bokeh


class BokehRenderer:
    """Renders an all-in-focus image as a camera would take it.

    Args:
        gamma: 1 to 5; light is ``image ** gamma``.
        highlights: Whether bright parts out of focus are brightened first.
        mode: ``classical`` as in the paper, or ``occlusion``, see :func:`render_bokeh`.

    Raises:
        ValueError: If gamma is outside its range or the mode is unknown.

    Examples:
        >>> renderer = BokehRenderer(gamma=2.2)
        >>> renderer(torch.rand(3, 48, 64), torch.zeros(1, 48, 64), 0.5, Camera((0.5, 0.5), 12)).shape
        torch.Size([3, 48, 64])
    """

    def __init__(self, gamma: float = PAPER_GAMMA, highlights: bool = False, mode: str = "classical") -> None:
        if not 1.0 <= gamma <= 5.0:
            raise ValueError(f"gamma must lie in [1, 5], got {gamma}")
        if mode not in MODES:
            raise ValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
        self.gamma = gamma
        self.highlights = highlights
        self.mode = mode

    def __call__(
        self,
        image_3HW: Tensor,
        disparity_1HW: Tensor,
        focus_disparity: float,
        camera: Camera,
        short_side: int | None = None,
    ) -> Tensor:
        """Render.

        Args:
            image_3HW: All-in-focus, display values in [0, 1].
            disparity_1HW: In [0, 1], 1 nearest.
            focus_disparity: The plane in focus.
            camera: Level and aperture; level 0 returns the image itself.
            short_side: Short side in pixels of the whole picture, where the image is a piece of one; None: the image's.

        Returns:
            ``(3, H, W)`` display values in [0, 1].
        """
        if camera.bokeh == 0:
            return image_3HW
        height, width = image_3HW.shape[1:] if short_side is None else (short_side, short_side)
        radius = camera.radius_per_disparity(height, width)
        rendered = render_bokeh(
            image_3HW[None],
            disparity_1HW[None],
            torch.tensor([focus_disparity]),
            torch.tensor([radius]),
            self.gamma,
            aperture=camera.aperture,
            highlights=self.highlights,
            mode=self.mode,
        )
        return rendered[0]
