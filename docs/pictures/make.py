"""Draws this folder's pictures with the packaged model: ``python docs/pictures/make.py``, from the project's root."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt
from PIL import Image
from torch import Tensor

from diffcam import Camera, RefocusPipeline
from diffcam.data import read_shard
from diffcam.kernels import render_bokeh

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


def _against_truth(axes: np.ndarray, asked: str, before: Camera, after: Camera, depth: bool) -> None:
    """A photo blurred by the occlusion renderer, what the model makes of it, and what it should be."""
    scene = next(iter(read_shard(SHARDS / "heldout-stereo-000000.tar")))
    photo, truth = (_picture(_rendered(scene.image, scene.disparity, camera)) for camera in (before, after))
    session = RefocusPipeline.from_pretrained("diffcam-tiny").open(photo, scene.disparity if depth else "none")
    pictures = (photo, session.refocus(after, STEPS), truth)
    for axis, picture, title in zip(axes, pictures, ("photo", f"{asked}: the model", "what it should be"), strict=True):
        axis.imshow(picture)
        axis.set_title(title)


def _rendered(image_3HW: Tensor, disparity_1HW: Tensor, camera: Camera) -> Tensor:
    if camera.bokeh == 0:
        return image_3HW
    height, width = disparity_1HW.shape[-2:]
    x, y = int(camera.focus[0] * width), int(camera.focus[1] * height)
    level = torch.tensor([camera.bokeh * height / 512])
    plane = disparity_1HW[:, y, x]
    return render_bokeh(image_3HW[None], disparity_1HW[None], plane, level, gamma=2.2, mode="occlusion")[0]


def limits() -> None:
    """Draw ``limits.jpg``: what the model makes of a blurred photo and of one without a map, beside what it should."""
    figure, rows = plt.subplots(3, 3, figsize=(14, 11))
    near, far, sharp = (0.30, 0.60), (0.75, 0.22), Camera((0.5, 0.5), 0)
    _against_truth(rows[0], "sharp everywhere", Camera(far, 10), sharp, depth=True)
    _against_truth(rows[1], "focus on the near", Camera(far, 10), Camera(near, 10), depth=True)
    _against_truth(rows[2], "focus on the near, no depth map", sharp, Camera(near, 16), depth=False)
    for axis in rows.flat:
        axis.set_axis_off()
    figure.tight_layout()
    figure.savefig(FOLDER / "limits.jpg", dpi=70)


def refocus() -> None:
    """Draw ``refocus.png``: two real photos with measured disparity."""
    figure, rows = plt.subplots(2, 4, figsize=(16, 6.6))
    _row(rows[0], "heldout-stereo-000000.tar", 0, [Camera((0.30, 0.60), 16), Camera((0.75, 0.22), 16)])
    _row(rows[1], "open-benchmark-camera-000000.tar", 0, [Camera((0.62, 0.66), 20), Camera((0.15, 0.30), 20)])
    for axis in rows.flat:
        axis.set_axis_off()
    figure.tight_layout()
    figure.savefig(FOLDER / "refocus.png", dpi=80)


if __name__ == "__main__":
    refocus()
    limits()
