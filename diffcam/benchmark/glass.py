"""Scenes whose disparity map is wrong: a pane of glass before the scene, as in the paper's figure 6.

What is behind the pane decides how the picture blurs, for light passes through; depth estimators see the pane.
Methods are given the pane's disparity; ground truth is rendered with the disparity of what is behind.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from diffcam.benchmark.scenes import BenchmarkRendering, cut_square
from diffcam.data.randomness import derived_generator
from diffcam.data.schema import Scene
from diffcam.simulation.variants import draw_benchmark_samples, render_variants

PANE = (0.35, 0.6)
"""Least and greatest side of the pane, as shares of the picture's sides."""

REFLECTION = 0.08
FRAME = 0.012
"""Width of the pane's frame, as a share of the picture's short side."""


@dataclass(frozen=True)
class GlassRendering(BenchmarkRendering):
    """Puts a pane before each scene; targets are always stored, since the map that is kept cannot make them."""

    @property
    def images_per_scene(self) -> int:
        """The original and six renditions."""
        return 7

    def complete(self, scene: Scene, index: int) -> Scene:
        """The scene behind glass; a pure function of scene, index and settings."""
        metadata = {**scene.metadata, "gamma": self.gamma, "disparity_is_wrong": True}
        if self.attribution:
            metadata["attribution"] = self.attribution
        cut = cut_square(replace(scene, metadata=metadata), self.size)
        generator = derived_generator("glass", self.seed, index)
        image, behind, seen = add_pane(cut.image, cut.disparity, generator)
        true = draw_benchmark_samples(replace(cut, image=image, disparity=behind, source="glass"), generator)
        return replace(render_variants(true, true.variants, gamma=self.gamma, device=self.device), disparity=seen)


def add_pane(image_3HW: Tensor, disparity_1HW: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
    """Put a framed pane of glass before a scene.

    Returns:
        The picture with a faint reflection on the pane; the disparity of what is behind it, the frame's own where
        there is frame; and the disparity that is seen, the pane's throughout.
    """
    height, width = image_3HW.shape[1:]
    tall, wide, down, right = torch.rand(4, generator=generator).tolist()
    rows = int((PANE[0] + tall * (PANE[1] - PANE[0])) * height)
    columns = int((PANE[0] + wide * (PANE[1] - PANE[0])) * width)
    top, left = int(down * (height - rows)), int(right * (width - columns))
    pane = torch.zeros(1, height, width, dtype=torch.bool)
    pane[:, top : top + rows, left : left + columns] = True
    border = max(2, round(FRAME * min(height, width)))
    frame = pane.clone()
    frame[:, top + border : top + rows - border, left + border : left + columns - border] = False
    sheen = torch.linspace(0, 2 * REFLECTION, rows)[:, None] * torch.linspace(1, 0, columns)
    image = image_3HW.clone()
    image[:, top : top + rows, left : left + columns] += sheen * (1 - image[:, top : top + rows, left : left + columns])
    image = torch.where(frame, 0.25, image.clamp(0, 1))
    plane = torch.tensor(min(1.0, float(disparity_1HW[pane].max()) + 0.1))
    return image, torch.where(frame, plane, disparity_1HW), torch.where(pane, plane, disparity_1HW)
