"""One camera's picture of a scene, rendered from its all-in-focus image."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from diffcam.camera import Aperture, Camera
from diffcam.data.schema import Surface
from diffcam.functional.bokeh import PAPER_GAMMA, display_to_linear, linear_to_display
from diffcam.functional.layered_lens import Layer, lens_disc, photograph
from diffcam.functional.wiener import smooth_side
from diffcam.kernels import MODES, render_bokeh

SURFACES = "surfaces"
"""Mode of the renderer that composites whole surfaces."""


class BokehRenderer:
    """Renders an all-in-focus image as a camera would take it.

    Args:
        gamma: 1 to 5; light is ``image ** gamma``.
        highlights: Whether bright parts out of focus are brightened first.
        mode: ``classical`` as in the paper, or ``occlusion``, see :func:`render_bokeh`; or ``surfaces``: scenes whose
            surfaces are whole are composited from them (:func:`photograph`), others as by ``occlusion``.

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
        if mode not in (*MODES, SURFACES):
            raise ValueError(f"mode must be one of {', '.join(MODES)}, {SURFACES}, got {mode!r}")
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
        surfaces: Sequence[Surface] = (),
    ) -> Tensor:
        """Render.

        Args:
            image_3HW: All-in-focus, display values in [0, 1].
            disparity_1HW: In [0, 1], 1 nearest.
            focus_disparity: The plane in focus.
            camera: Level and aperture; level 0 returns the image itself.
            short_side: Short side in pixels of the whole picture, where the image is a piece of one; None: the image's.
            surfaces: What the image consists of, where that is known.

        Returns:
            ``(3, H, W)`` display values in [0, 1].
        """
        if camera.bokeh == 0:
            return image_3HW
        height, width = image_3HW.shape[1:] if short_side is None else (short_side, short_side)
        radius = camera.radius_per_disparity(height, width)
        if self.mode == SURFACES and surfaces:
            return self._photograph(surfaces, focus_disparity, radius, camera.aperture)
        rendered = render_bokeh(
            image_3HW[None],
            disparity_1HW[None],
            image_3HW.new_tensor([focus_disparity]),
            image_3HW.new_tensor([radius]),
            self.gamma,
            aperture=camera.aperture,
            highlights=self.highlights,
            mode="occlusion" if self.mode == SURFACES else self.mode,
        )
        return rendered[0]

    def _photograph(
        self, surfaces: Sequence[Surface], focus_disparity: float, radius: float, aperture: Aperture
    ) -> Tensor:
        """The lens picture of whole surfaces, which go on beyond the frame as at its border."""
        height, width = surfaces[0].image.shape[1:]
        reach = math.ceil(radius * max(focus_disparity, 1 - focus_disparity)) + 2
        rows, columns = smooth_side(height + 2 * reach), smooth_side(width + 2 * reach)
        sides = (reach, columns - width - reach, reach, rows - height - reach)
        layers = []
        for surface in surfaces:
            parts = surface.image, surface.coverage, surface.disparity
            image, coverage, disparity = (F.pad(part[None], sides, mode="replicate")[0] for part in parts)
            light = display_to_linear(image, self.gamma)
            layers.append(Layer(light, coverage, radius * (disparity - focus_disparity)))
        picture = photograph(layers, lambda size: lens_disc(size, aperture=aperture))
        return linear_to_display(picture[:, reach : reach + height, reach : reach + width].clamp(0, 1), self.gamma)
