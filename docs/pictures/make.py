"""Draws this folder's pictures with the packaged model: ``python docs/pictures/make.py``, from the project's root."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib import pyplot as plt
from PIL import Image
from torch import Tensor

from diffcam import Camera, RefocusPipeline
from diffcam.data import read_shard

FOLDER = Path(__file__).parent
SHARDS = FOLDER.parents[1] / "data_shards"
STEPS = 4
COLOUR = "#3ad15a"


def _picture(image_3HW: Tensor) -> Image.Image:
    return Image.fromarray((image_3HW.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))


def _row(axes: np.ndarray, shard: str, number: int, clicks: list[Camera]) -> None:
    """The photo, its disparity, and what the model makes of each click."""
    scene = list(read_shard(SHARDS / shard))[number]
    photo = _picture(scene.image)
    session = RefocusPipeline.from_pretrained("diffcam-tiny").open(photo, scene.disparity)
    axes[0].imshow(photo)
    axes[0].set_title("photo")
    axes[1].imshow(scene.disparity[0], cmap="gray")
    axes[1].set_title("disparity")
    for axis, camera in zip(axes[2:], clicks, strict=True):
        axis.imshow(session.refocus(camera, STEPS))
        x, y = camera.focus[0] * photo.width, camera.focus[1] * photo.height
        axis.plot(x, y, marker="s", markersize=16, markerfacecolor="none", markeredgecolor=COLOUR, markeredgewidth=2)
        axis.set_title(f"focus here, level {camera.bokeh:g}")


def main() -> None:
    """Draw ``refocus.png``: a real photo with measured disparity, and a layered scene of held-out photos."""
    figure, rows = plt.subplots(2, 4, figsize=(16, 6.6))
    _row(rows[0], "heldout-stereo-000000.tar", 0, [Camera((0.30, 0.60), 16), Camera((0.75, 0.22), 16)])
    _row(rows[1], "heldout-photo-000000.tar", 0, [Camera((0.50, 0.95), 16), Camera((0.50, 0.15), 16)])
    for axis in rows.flat:
        axis.set_axis_off()
    figure.tight_layout()
    figure.savefig(FOLDER / "refocus.png", dpi=80)


if __name__ == "__main__":
    main()
