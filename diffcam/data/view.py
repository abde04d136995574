"""A scene seen through a window, and its renditions: stored variants where there are any, rendered ones otherwise."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from torch import Tensor

from diffcam.camera import MAX_BOKEH, Camera
from diffcam.data.pairing import Rendition
from diffcam.data.rendering import BokehRenderer
from diffcam.data.schema import Scene, Surface
from diffcam.data.window import Window


class View:
    """A scene through a window.

    Args:
        scene, window: The scene, and the part that is shown.
        renderer: Renders variants that are not stored.
        stored: From the index of a variant to its whole image ``(3, H, W)``, or None where it is only described.

    Attributes:
        image: All-in-focus, ``(3, *resolution)``.
        disparity: ``(1, *resolution)``.
        surfaces: Those of the scene, as far as they are in the window.
    """

    def __init__(
        self, scene: Scene, window: Window, renderer: BokehRenderer, stored: Callable[[int], Tensor | None]
    ) -> None:
        self._renderer = renderer
        self._stored = stored
        self.window = window
        self.image = window.apply(scene.image)
        self.disparity = window.apply(scene.disparity)
        self.surfaces = [
            Surface(window.apply(whole.image), window.apply(whole.coverage), window.apply(whole.disparity))
            for whole in scene.surfaces
        ]

    def camera(self, rendition: Rendition) -> Camera:
        """The rendition's camera in the window: the blur of a variant is magnified and mirrored with the picture."""
        if rendition.variant is None:
            return rendition.camera
        aperture = rendition.camera.aperture
        aperture = aperture.mirrored() if self.window.flip else aperture
        return replace(rendition.camera, bokeh=self.level(rendition.camera.bokeh), aperture=aperture)

    def level(self, bokeh: float) -> float:
        """Bokeh level relative to the window of a level relative to the whole scene."""
        return min(bokeh * self.window.magnification, MAX_BOKEH)

    def picture(self, rendition: Rendition) -> Tensor:
        """The rendition, ``(3, *resolution)``."""
        stored = None if rendition.variant is None else self._stored(rendition.variant)
        if stored is not None:
            return self.window.apply(stored)
        camera, short_side = self.camera(rendition), self.window.short_side
        parts = self.image, self.disparity, rendition.focus_disparity, camera, short_side
        return self._renderer(*parts, self.surfaces)
