"""Pictures of a scene: stored variants where there are any, rendered ones otherwise."""

from __future__ import annotations

import torch
from torch import Tensor

from diffcam.camera import Camera, pixels_per_level
from diffcam.kernels import MODES, render_bokeh


class BokehRenderer:
    """Renders one camera's view of an all-in-focus image.

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

    def __init__(self, gamma: float = 4.0, highlights: bool = False, mode: str = "classical") -> None:
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
            short_side: Of the whole picture in pixels, where the image is a piece of one; None: of the image.

        Returns:
            ``(3, H, W)`` display values in [0, 1].
        """
        if camera.bokeh == 0:
            return image_3HW
        height, width = image_3HW.shape[1:] if short_side is None else (short_side, short_side)
        radius = camera.bokeh * pixels_per_level(height, width)
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
