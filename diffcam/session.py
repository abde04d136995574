"""PhotoSession: a photo whose conditions are encoded once, which makes every further click cheap."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from diffcam.camera import Aperture, Camera, CameraBatch, pixels_per_level
from diffcam.errors import DiffcamError
from diffcam.functional.frame import Frame, same_frame
from diffcam.functional.upsampling import upsample_result, what_stays
from diffcam.kernels.scatter import scatter_discs
from diffcam.models.refocus import RefocusModel, StepHook
from diffcam.photo import Photo, single_channel
from diffcam.pretrained.depth import DepthEstimator

logger = logging.getLogger(__name__)

DepthInput = None | Literal["none"] | NDArray[Any] | Tensor | Image.Image
"""A disparity map, used as given: 0 farthest, 1 (or an integer type's largest) nearest; ``none``; None: estimate."""

MAX_ASPECT = 4
"""Longest frame that the model solves, in short sides; longer photos are solved smaller."""


class PhotoSession:
    """One photo, opened: its conditions are encoded once and serve every camera.

    Args:
        model: The network.
        photo: The photo.
        depth: See :data:`DepthInput`.
        trained_size: Short side in pixels that photos are solved at.
        name: Of the model, written into the record of every output.
        depth_estimator: From images to disparity; None: photos without a map are solved without one.
    """

    def __init__(
        self,
        model: RefocusModel,
        photo: Photo,
        depth: DepthInput,
        trained_size: int,
        name: str,
        depth_estimator: DepthEstimator | None = None,
    ) -> None:
        self._model = model
        self._name = name
        self.photo = photo
        width, height = photo.size
        self.frame = Frame.fit((height, width), trained_size, model.token_pixels, MAX_ASPECT * trained_size)
        self._full = photo.tensor()[None]
        self.disparity = self._read_depth(depth, depth_estimator)
        with torch.no_grad():
            device = model.device
            self._conditions = model.encode_photo(self.frame.to_model(self._full).to(device), self.disparity.to(device))

    def refocus(self, camera: Camera, steps: int = 8, seed: int = 0, on_step: StepHook | None = None) -> Image.Image:
        """The photo as this camera takes it, at full size, with its record in ``info["diffcam"]``."""
        latents = self.latents([camera], steps, seed, on_step=on_step)
        return self.picture(self.images(latents, [camera])[0], camera, steps, seed)

    def latents(
        self,
        cameras: Sequence[Camera],
        steps: int = 8,
        seed: int = 0,
        generator: torch.Generator | None = None,
        on_step: StepHook | None = None,
    ) -> Tensor:
        """Results for N cameras, which share their noise: ``(N, C, h, w)`` in the model's frame, for :meth:`images`.

        Raises:
            DiffcamError: If there is no camera.
        """
        if not cameras:
            raise DiffcamError("no camera to refocus for: give at least one")
        model, frame = self._model, self.frame
        if any(one.aperture != Aperture() for one in cameras):
            logger.warning(
                "%s: the model draws round openings alone, the camera's aperture is left out", self.photo.name
            )
        generator = generator if generator is not None else torch.Generator().manual_seed(seed)
        asked = [Camera(frame.focus(one.focus), frame.bokeh(one.bokeh), one.aperture) for one in cameras]
        batch = CameraBatch.from_cameras(asked).to(self._conditions.latent.device)
        noise = model.noise(self._conditions, 1, generator).expand(len(cameras), -1, -1, -1)
        return model.sample(batch, self._conditions, noise, steps, on_step)

    def images(self, latents_BCHW: Tensor, cameras: Sequence[Camera]) -> Tensor:
        """Full-size pictures ``(N, 3, H, W)`` in [0, 1] of the latents of N cameras."""
        solved = self._model.decode(latents_BCHW).float().cpu()
        results = zip(self.frame.from_model(solved).split(1), cameras, strict=True)
        return torch.cat([upsample_result(self._full, result, self._stays(one)) for result, one in results])

    def picture(self, image_3HW: Tensor, camera: Camera, steps: int, seed: int) -> Image.Image:
        """A result as a PIL image of the photo's kind, with the record of how it was made."""
        pixels = (image_3HW.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
        picture = Image.fromarray(pixels)
        if self.photo.alpha is not None:
            picture.putalpha(self.photo.alpha)
        picture.info["diffcam"] = json.dumps(self.record(camera, steps, seed))
        return picture

    def record(self, camera: Camera, steps: int, seed: int) -> dict[str, Any]:
        """What makes a result again: camera, model, seed and steps."""
        return {
            "focus": list(camera.focus),
            "bokeh": camera.bokeh,
            "model": self._name,
            "seed": seed,
            "steps": steps,
        }

    def _stays(self, camera: Camera) -> Tensor | None:
        """Where the photo's pixels stay, as far as blur tells (`what_stays`); None where nobody knows the asked one."""
        disparity = self.frame.from_model(self.disparity)
        if camera.bokeh > 0 and not disparity.any():
            return None
        asked = CameraBatch.from_cameras([camera]).defocus(disparity) * pixels_per_level(*disparity.shape[-2:])
        own = self.frame.from_model(self._conditions.own_radius).cpu()
        return what_stays(own, asked, scatter_discs)

    def _read_depth(self, depth: DepthInput, estimator: DepthEstimator | None) -> Tensor:
        """Disparity ``(1, 1, *padded)`` in the model's frame."""
        if isinstance(depth, str):
            if depth != "none":
                raise DiffcamError(f"depth must be a map, None or 'none', got {depth!r}; read a map's file first")
            return torch.zeros(1, 1, *self.frame.padded)
        if depth is not None:
            return self.frame.to_model(_disparity(depth, self.photo))
        if estimator is not None:
            return self.frame.to_model(estimator(self._full))
        logger.warning("%s: no depth map and no depth estimator: solved without depth", self.photo.name)
        return torch.zeros(1, 1, *self.frame.padded)


def _disparity(depth: NDArray[Any] | Tensor | Image.Image, photo: Photo) -> Tensor:
    """A given map as ``(1, 1, H, W)`` in [0, 1].

    Raises:
        DiffcamError: If it is no single channel of finite numbers in range, or has another aspect than the photo.
    """
    array = depth.detach().cpu().numpy() if isinstance(depth, Tensor) else np.asarray(depth)
    if np.issubdtype(array.dtype, np.integer):
        bits = array.dtype if array.dtype.itemsize <= 2 else np.uint16  # Pillow holds 16-bit grey in 32-bit integers
        array = array / np.iinfo(bits).max
    array = array.astype(np.float32)
    while array.ndim > 2 and array.shape[0] == 1 and not isinstance(depth, Image.Image):
        array = array[0]
    array = single_channel(array)
    if array.ndim != 2 or array.size == 0:
        raise DiffcamError(f"the depth map must have a single channel, got an array of shape {array.shape}")
    if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
        raise DiffcamError("the depth map must hold finite disparities in [0, 1], 0 farthest and 1 nearest")
    width, height = photo.size
    if not same_frame((array.shape[0], array.shape[1]), (height, width)):
        sizes = f"the depth map is {array.shape[1]}x{array.shape[0]}, {photo.name} is {width}x{height}"
        raise DiffcamError(f"{sizes}: they must show the same frame")
    return torch.from_numpy(array)[None, None]
