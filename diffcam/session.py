"""PhotoSession: a photo whose conditions are encoded once, which makes every further click cheap."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Sequence
from dataclasses import asdict

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from diffcam.camera import Aperture, Camera, CameraBatch, ThinLens, reference_scale
from diffcam.errors import DiffcamError
from diffcam.functional.frame import Frame, resize
from diffcam.functional.grain import add_grain, measure_grain
from diffcam.functional.upsampling import blur_agreement, sharpness_gain, upsample_result
from diffcam.kernels.scatter import scatter_discs
from diffcam.models.refocus import RefocusModel, StepHook
from diffcam.photo.inputs import DepthInput, PhotoInput, TakenWith, as_disparity, as_photo, as_taken_with
from diffcam.photo.pixels import round_to_8_bit, to_picture
from diffcam.pretrained.depth import DepthEstimator

logger = logging.getLogger(__name__)

MAX_ASPECT = 4
"""Longest frame that the model solves, in short sides; longer photos are solved smaller."""


class PhotoSession:
    """One photo, opened: its conditions are encoded once and serve every camera.

    Args:
        model: The network.
        photo: See :data:`diffcam.photo.inputs.PhotoInput`.
        depth: See :data:`diffcam.photo.inputs.DepthInput`.
        steps: Sampling steps where :meth:`refocus` is told no other number.
        name: Of the model, written into the record of every output.
        depth_estimator: From images to disparity; None: photos without a map are solved without one.
        taken_with: See :data:`TakenWith`; the blur that this left is undone.
        depth_range: Depths in metres of disparity 1 and of disparity 0, which a lens needs.

    Raises:
        DiffcamError: If the photo cannot be read, the map does not fit it or holds what is no disparity, what took the
            photo is told without the map or the depths to tell what it blurred, or its EXIF does not tell the lens.

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
        taken_with: TakenWith = None,
        depth_range: tuple[float, float] | None = None,
    ) -> None:
        self._model, self._steps, self._name = model, steps, name
        self.photo = as_photo(photo)
        self._full = self.photo.tensor()[None]
        self._grain = measure_grain(self._full[0])
        width, height = self.photo.size
        long_side = MAX_ASPECT * model.short_side
        self.frame = Frame.fit((height, width), model.short_side, model.token_pixels, long_side)
        if isinstance(depth, str) and depth != "none":
            raise DiffcamError(f"depth must be a map, None or 'none', got {depth!r}; read a map's file first")
        if depth is None and depth_estimator is None:
            logger.warning("%s: no depth map and no depth estimator: solved without depth", self.photo.name)
        reference = self.frame.to_model(self._full)
        if depth is not None and not isinstance(depth, str):
            self.disparity = self.frame.to_model(as_disparity(depth, self.photo))
        elif depth is None and depth_estimator is not None:
            self.disparity = self.frame.to_model(depth_estimator(self._full))
        else:
            self.disparity = torch.zeros(1, 1, *self.frame.padded)
        self._taken_with, own_radius = as_taken_with(taken_with, self.photo), None
        self._depth_range = depth_range if isinstance(self._taken_with, ThinLens) else None
        if self._taken_with is not None:
            own_radius = self._own_radius(self._taken_with, depth_range).to(model.device)
        with torch.no_grad():
            self._conditions = model.encode_photo(
                reference.to(model.device), self.disparity.to(model.device), own_radius
            )

    def _own_radius(self, taken_with: Camera | ThinLens, depth_range: tuple[float, float] | None) -> Tensor:
        """Signed blur radius in pixels of the model's frame that a camera or a lens left, ``(1, 1, H, W)``."""
        if not self.disparity.any():
            raise DiffcamError(f"{self.photo.name}: taken_with needs a depth map, which says what was out of focus")
        if isinstance(taken_with, Camera):
            defocus = CameraBatch.from_cameras([self._in_frame(taken_with)]).defocus(self.disparity)
        elif depth_range is None:
            raise DiffcamError(f"{self.photo.name}: a lens needs depth_range, the metres of disparity 1 and 0")
        else:
            level = self.frame.bokeh(taken_with.bokeh(*depth_range))
            defocus = level * (self.disparity - taken_with.focus_disparity(*depth_range))
        return defocus * reference_scale(self._model.short_side, self._model.short_side)

    @property
    def own_radius(self) -> Tensor:
        """Blur radius of the photo itself in its own pixels, ``(1, 1, H, W)``: as told, or as found.

        Signed where the depth is known: positive in front of the focus plane. 0 where a model does not find it.
        """
        per_pixel = self.frame.size[1] / self.frame.content[1]
        solved = self.frame.from_model(self._conditions.own_radius.cpu()) * per_pixel
        return F.interpolate(solved, self.frame.size, mode="bilinear", align_corners=False)

    def _in_frame(self, camera: Camera) -> Camera:
        """A camera of the photo as one of the model's frame."""
        return Camera(self.frame.focus(camera.focus), self.frame.bokeh(camera.bokeh), camera.aperture)

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
        return self.pictures(self.images(latents, [camera], seed), [camera], steps, seed)[0]

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
        if not self._model.draws_apertures and any(camera.aperture != Aperture() for camera in cameras):
            logger.warning(
                "%s: the model draws round openings alone, the camera's aperture is left out", self.photo.name
            )
        if generator is None:
            generator = torch.Generator().manual_seed(seed)
        generators = [generator] if isinstance(generator, torch.Generator) else generator
        if len(generators) not in (1, len(cameras)):
            raise DiffcamError(f"{len(generators)} generators for {len(cameras)} cameras: give one for all or one each")
        model = self._model
        noise = torch.cat([model.noise(self._conditions, 1, one) for one in generators]).expand(
            len(cameras), -1, -1, -1
        )
        batch = CameraBatch.from_cameras([self._in_frame(one) for one in cameras]).to(noise.device)
        return model.sample(batch, self._conditions, noise, steps, on_step)

    def images(self, latents_NCHW: Tensor, cameras: Sequence[Camera], seed: int = 0) -> Tensor:
        """Full-size pictures ``(N, 3, H, W)`` in [0, 1] of the latents of N cameras.

        The photo's grain, which blur takes away, is drawn again; all cameras share the seed.
        """
        solved = self.frame.from_model(self._model.decode(latents_NCHW).float().cpu())
        disparity = self.frame.from_model(self.disparity)
        own_radius = self.frame.from_model(self._conditions.own_radius.cpu()).abs()
        pictures = []
        for result, camera in zip(solved.split(1), cameras, strict=True):
            agreement = None  # without depth nobody knows where the photo is to stay as it is
            if camera.bokeh == 0 or disparity.any():
                asked = CameraBatch.from_cameras([camera]).defocus_pixels(disparity)
                agreement = blur_agreement(own_radius, asked, scatter_discs)
            pictures.append(self._grained(upsample_result(self._full, result, agreement), result, seed))
        return torch.cat(pictures)

    def _grained(self, picture_13HW: Tensor, solved_13hw: Tensor, seed: int) -> Tensor:
        """A full-size picture with the photo's grain where what was solved has lost the photo's detail."""
        if self._grain is None:
            return picture_13HW
        gain = sharpness_gain(resize(self._full, self.frame.content), solved_13hw)
        kept = resize(gain.clamp(0, 1), self.frame.size)
        generator = torch.Generator().manual_seed(seed)
        return add_grain(picture_13HW[0], self._full[0], kept[0], self._grain, generator)[None]

    def pictures(
        self, images_N3HW: Tensor, cameras: Sequence[Camera], steps: int, seed: int | None
    ) -> list[Image.Image]:
        """Results as PIL images of the photo's kind; ``info["diffcam"]`` is JSON of what makes each again.

        It also holds ``kept``, the share of the pixels that are the photo's own to the last bit.

        Args:
            images_N3HW: In [0, 1].
            cameras, steps, seed: What made them; the seed is None where a generator drew the noise.
        """
        pictures = []
        for image, camera in zip(images_N3HW, cameras, strict=True):
            picture = to_picture(image)
            kept = float((round_to_8_bit(image) == self._full[0]).all(0).float().mean())
            if self.photo.alpha is not None:
                picture.putalpha(self.photo.alpha)
            record = {"focus": camera.focus, "bokeh": camera.bokeh, "model": self._name, "seed": seed, "steps": steps}
            record |= {"kept": round(kept, 4)}
            if self._taken_with is not None:
                record["taken_with"] = {name: _json_value(value) for name, value in asdict(self._taken_with).items()}
            if self._depth_range is not None:
                record["depth_range"] = [_json_value(depth) for depth in self._depth_range]
            picture.info["diffcam"] = json.dumps(record)
            pictures.append(picture)
        return pictures


def _json_value(value: object) -> object:
    """The value, or the word "inf", which Python's float reads, for a distance that JSON has no number for."""
    return "inf" if value == math.inf else value
