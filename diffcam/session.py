"""PhotoSession: a photo whose conditions are encoded once, which makes every further click cheap."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from diffcam.camera import Aperture, Camera, CameraBatch
from diffcam.errors import DiffcamError
from diffcam.functional.frame import Frame, same_frame
from diffcam.functional.upsampling import blur_agreement, upsample_result
from diffcam.kernels.scatter import scatter_discs
from diffcam.models.refocus import RefocusModel, StepHook
from diffcam.photo import Photo, open_photo, single_channel
from diffcam.photo.pixels import LEVELS, to_picture
from diffcam.pretrained.depth import DepthEstimator

logger = logging.getLogger(__name__)

PhotoInput = Photo | Image.Image | str | os.PathLike[str] | NDArray[Any] | Tensor
"""A photo, an image, a file's path, or display values: an array ``(H, W, 3)`` or a tensor ``(3, H, W)`` or
``(H, W, 3)``, of uint8 or of floats in [0, 1]; a fourth channel is transparency."""

DepthInput = None | Literal["none"] | NDArray[Any] | Tensor | Image.Image
"""A disparity map, used as given: 0 farthest, 1 (or an integer type's largest) nearest; ``none``; None: estimate."""

MAX_ASPECT = 4
"""Longest frame that the model solves, in short sides; longer photos are solved smaller."""


class PhotoSession:
    """One photo, opened: its conditions are encoded once and serve every camera.

    Args:
        model: The network.
        photo: See :data:`PhotoInput`.
        depth: See :data:`DepthInput`.
        steps: Sampling steps where :meth:`refocus` is told no other number.
        name: Of the model, written into the record of every output.
        depth_estimator: From images to disparity; None: photos without a map are solved without one.

    Raises:
        DiffcamError: If the photo cannot be read, or the map does not fit it or holds what is no disparity.

    Examples:
        >>> pipe = diffcam.RefocusPipeline.from_pretrained("diffcam-tiny")
        >>> session = pipe.open(torch.rand(3, 48, 64), depth="none")
        >>> [session.refocus(diffcam.Camera((0.4, 0.6), level)).size for level in (4, 8)]
        [(64, 48), (64, 48)]
    """

    def __init__(
        self,
        model: RefocusModel,
        photo: PhotoInput,
        *,
        depth: DepthInput,
        steps: int,
        name: str,
        depth_estimator: DepthEstimator | None = None,
    ) -> None:
        self._model, self._steps, self._name = model, steps, name
        self.photo = as_photo(photo)
        self._full = self.photo.tensor()[None]
        width, height = self.photo.size
        long_side = MAX_ASPECT * model.short_side
        self.frame = Frame.fit((height, width), model.short_side, model.token_pixels, long_side)
        if isinstance(depth, str) and depth != "none":
            raise DiffcamError(f"depth must be a map, None or 'none', got {depth!r}; read a map's file first")
        if depth is None and depth_estimator is None:
            logger.warning("%s: no depth map and no depth estimator: solved without depth", self.photo.name)
        if depth is not None and not isinstance(depth, str):
            self.disparity = self.frame.to_model(as_disparity(depth, self.photo))
        elif depth is None and depth_estimator is not None:
            self.disparity = self.frame.to_model(depth_estimator(self._full))
        else:
            self.disparity = torch.zeros(1, 1, *self.frame.padded)
        with torch.no_grad():
            reference = self.frame.to_model(self._full).to(model.device)
            self._conditions = model.encode_photo(reference, self.disparity.to(model.device))

    def refocus(
        self, camera: Camera, steps: int | None = None, seed: int = 0, on_step: StepHook | None = None
    ) -> Image.Image:
        """The photo as this camera takes it, at full size, with its record in ``info["diffcam"]``.

        Args:
            camera: Focus and blur.
            steps: Sampling steps; None: as many as the weights are meant for.
            seed: Of the noise.
            on_step: Called after each step.
        """
        steps = self._steps if steps is None else steps
        latents = self.latents([camera], steps, seed, on_step=on_step)
        return self.pictures(self.images(latents, [camera]), [camera], steps, seed)[0]

    def latents(
        self,
        cameras: Sequence[Camera],
        steps: int,
        seed: int = 0,
        *,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        on_step: StepHook | None = None,
    ) -> Tensor:
        """Results for N cameras: ``(N, C, h, w)`` in the model's frame, for :meth:`images`.

        Args:
            cameras: Focus and blur of each.
            steps: Sampling steps.
            seed: Of the noise, which all cameras share.
            generator: Draws that noise in its place; N of them draw one each.
            on_step: Called after each step.

        Raises:
            DiffcamError: If there is no camera, or there are generators for another number of them.
        """
        if not cameras:
            raise DiffcamError("no camera to refocus for: give at least one")
        if any(camera.aperture != Aperture() for camera in cameras):
            logger.warning(
                "%s: the model draws round openings alone, the camera's aperture is left out", self.photo.name
            )
        if generator is None:
            generator = torch.Generator().manual_seed(seed)
        generators = [generator] if isinstance(generator, torch.Generator) else generator
        if len(generators) not in (1, len(cameras)):
            raise DiffcamError(f"{len(generators)} generators for {len(cameras)} cameras: give one for all or one each")
        model, frame = self._model, self.frame
        in_frame = [Camera(frame.focus(one.focus), frame.bokeh(one.bokeh), one.aperture) for one in cameras]
        noise = torch.cat([model.noise(self._conditions, 1, one) for one in generators]).expand(
            len(cameras), -1, -1, -1
        )
        batch = CameraBatch.from_cameras(in_frame).to(noise.device)
        return model.sample(batch, self._conditions, noise, steps, on_step)

    def images(self, latents_NCHW: Tensor, cameras: Sequence[Camera]) -> Tensor:
        """Full-size pictures ``(N, 3, H, W)`` in [0, 1] of the latents of N cameras."""
        solved = self.frame.from_model(self._model.decode(latents_NCHW).float().cpu())
        disparity = self.frame.from_model(self.disparity)
        own_radius = self.frame.from_model(self._conditions.own_radius).cpu()
        pictures = []
        for result, camera in zip(solved.split(1), cameras, strict=True):
            agreement = None  # without depth nobody knows where the photo is to stay as it is
            if camera.bokeh == 0 or disparity.any():
                asked = CameraBatch.from_cameras([camera]).defocus_pixels(disparity)
                agreement = blur_agreement(own_radius, asked, scatter_discs)
            pictures.append(upsample_result(self._full, result, agreement))
        return torch.cat(pictures)

    def pictures(
        self, images_N3HW: Tensor, cameras: Sequence[Camera], steps: int, seed: int | None
    ) -> list[Image.Image]:
        """Results as PIL images of the photo's kind; ``info["diffcam"]`` is JSON of what makes each again.

        Args:
            images_N3HW: In [0, 1].
            cameras, steps, seed: What made them; the seed is None where a generator drew the noise.
        """
        pictures = []
        for image, camera in zip(images_N3HW, cameras, strict=True):
            picture = to_picture(image)
            if self.photo.alpha is not None:
                picture.putalpha(self.photo.alpha)
            record = {"focus": camera.focus, "bokeh": camera.bokeh, "model": self._name, "seed": seed, "steps": steps}
            picture.info["diffcam"] = json.dumps(record)
            pictures.append(picture)
        return pictures


def as_photo(photo: PhotoInput) -> Photo:
    """A photo from any of the forms of :data:`PhotoInput`.

    Raises:
        DiffcamError: If it is of another form, or cannot be read.
    """
    if isinstance(photo, Photo):
        return photo
    if isinstance(photo, Image.Image):
        return Photo.from_image(photo)
    if isinstance(photo, str | os.PathLike):
        return open_photo(photo)
    if isinstance(photo, Tensor):
        array = (photo.float() if photo.is_floating_point() else photo).detach().cpu().numpy()
        if array.ndim == 3 and array.shape[0] in (3, 4):
            array = array.transpose(1, 2, 0)
    elif isinstance(photo, np.ndarray):
        array = photo
    else:
        kind = type(photo).__name__
        raise DiffcamError(f"photo: cannot read a {kind}; give an image, a path, an array, a tensor or a list of them")
    if array.ndim != 3 or array.shape[-1] not in (3, 4) or array.size == 0:
        raise DiffcamError(f"photo: an array of shape {array.shape}; give (height, width, 3)")
    if np.issubdtype(array.dtype, np.floating) and np.isfinite(array).all() and 0 <= array.min() <= array.max() <= 1:
        array = np.rint(array * LEVELS).astype(np.uint8)
    if array.dtype != np.uint8:
        raise DiffcamError(f"photo: an array of {array.dtype}; give uint8, or floats in [0, 1]")
    return Photo.from_image(Image.fromarray(array))


def as_disparity(depth: NDArray[Any] | Tensor | Image.Image, photo: Photo) -> Tensor:
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
