"""RefocusPipeline: photo and camera in, refocused photo out; and the session that makes every further click cheap."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from diffusers import DiffusionPipeline
from diffusers.utils import BaseOutput
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from diffcam.camera import Aperture, Camera, CameraBatch, focus_pixel, pixels_per_level
from diffcam.errors import DiffcamError
from diffcam.functional.bokeh import defocus_radius
from diffcam.functional.geometry import Frame, same_frame
from diffcam.functional.upsampling import in_focus, upsample_result
from diffcam.models.checkpoint import (
    RefocusSettings,
    load_adapter,
    load_model,
    packaged,
    save_adapter,
    save_model,
)
from diffcam.models.depth import DepthEstimator
from diffcam.models.flux import load_flux_codec, load_flux_transformer
from diffcam.models.refocus import RefocusModel
from diffcam.photo import Photo

logger = logging.getLogger(__name__)

DepthInput = None | Literal["none"] | NDArray[Any] | Tensor | Image.Image
"""A disparity map, used as given: 0 farthest, 1 (or an integer type's largest) nearest; ``none``; None: estimate."""

MAX_ASPECT = 4
"""Longest frame that the model solves, in short sides; longer photos are solved smaller."""


@dataclass
class RefocusPipelineOutput(BaseOutput):  # type: ignore[misc]
    """Refocused photos.

    Args:
        images: A list of PIL images, or ``(N, 3, H, W)`` in [0, 1] for ``output_type="pt"``.
    """

    images: list[Image.Image] | Tensor


class RefocusPipeline(DiffusionPipeline):  # type: ignore[misc]
    """Refocuses photos of any size and aspect.

    Args:
        model: The network.
        settings: What its weights were trained with.
        name: Written into the record of every output.
        depth_estimator: From images to disparity; None: photos without a map are solved without one.
    """

    def __init__(
        self,
        model: RefocusModel,
        settings: RefocusSettings,
        name: str,
        depth_estimator: DepthEstimator | None = None,
    ) -> None:
        super().__init__()
        self.register_modules(model=model)
        self.settings = settings
        self.name = name
        self.depth_estimator = depth_estimator

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path | None = None,
        adapter: str | Path | None = None,
        dtype: Literal["bfloat16", "float32"] = "bfloat16",
        depth_estimator: DepthEstimator | None = None,
    ) -> RefocusPipeline:
        """Load a pipeline.

        Args:
            source: ``diffcam-tiny`` or another packaged name, an exported model folder, or a FLUX.1 base (folder or
                hub name), which needs an adapter. None: ``diffcam-tiny``, or the base that the adapter was trained on.
            adapter: Adapter folder for a FLUX base.
            dtype: Of a FLUX base; whole embedded models run in float32.
            depth_estimator: See the class.

        Raises:
            DiffcamError: If something is missing or does not fit, with what to do about it.
        """
        if adapter is None:
            source = source or "diffcam-tiny"
            folder = packaged(str(source)) or Path(source)
            if not folder.is_dir():
                raise DiffcamError(
                    f"{source}: no such model; give 'diffcam-tiny', a model folder, or a FLUX base and its adapter"
                )
            model, settings = load_model(folder)
            return cls(model, settings, Path(source).name, depth_estimator)
        settings = RefocusSettings.read(Path(adapter))
        source = source or settings.base
        if not source:
            raise DiffcamError(f"{adapter}: does not say what base it was trained on; name one")
        model = settings.build(load_flux_codec(str(source), dtype), load_flux_transformer(str(source), dtype))
        for projector in model.transformer.projectors.values():
            projector.to(model.transformer.dtype)
        load_adapter(model, Path(adapter))
        return cls(model.eval().requires_grad_(False), settings, f"{source} + {Path(adapter).name}", depth_estimator)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the model folder, or, on a FLUX base, the adapter folder; :meth:`from_pretrained` reads both."""
        if hasattr(self.model.transformer.base, "peft_config"):
            save_adapter(self.model, Path(folder), self.settings.trained_size, self.settings.base)
        else:
            save_model(self.model, Path(folder), self.settings.trained_size)

    @property
    def components(self) -> dict[str, Any]:
        """What :meth:`to` moves."""
        return {"model": self.model}

    def enable_model_cpu_offload(self, device: torch.device | str = "cuda") -> None:
        """Keep codec and transformer in main memory and move each to the GPU only while it works."""
        self.model.offload(torch.device(device))

    def open(self, photo: Photo | Image.Image, depth: DepthInput = None) -> PhotoSession:
        """Encode what all cameras of a photo share.

        Args:
            photo: Any size and aspect.
            depth: See :data:`DepthInput`.

        Raises:
            DiffcamError: If the map does not fit the photo or holds what is no disparity.
        """
        return PhotoSession(self, photo if isinstance(photo, Photo) else Photo.from_image(photo), depth)

    def __call__(
        self,
        photo: Photo | Image.Image,
        camera: Camera | Sequence[Camera],
        depth: DepthInput = None,
        steps: int = 8,
        seed: int = 0,
        generator: torch.Generator | None = None,
        output_type: Literal["pil", "pt"] = "pil",
        callback_on_step_end: Callable[[int, Tensor], None] | None = None,
    ) -> RefocusPipelineOutput:
        """Refocus a photo, for one camera or for a sweep of them in one batch.

        Args:
            photo: Any size and aspect.
            camera: One or several.
            depth: See :data:`DepthInput`.
            steps: Sampling steps.
            seed: Of the noise, shared by all cameras; ignored if a generator is given.
            generator: Draws the noise instead.
            output_type: ``pil``, or ``pt`` for a tensor.
            callback_on_step_end: Called with the step's number and the latents.
        """
        cameras = [camera] if isinstance(camera, Camera) else list(camera)
        session = self.open(photo, depth)
        images = session.solve(cameras, steps, seed, generator, callback_on_step_end)
        if output_type == "pt":
            return RefocusPipelineOutput(images=images)
        pictures = [session.picture(image, one, steps, seed) for image, one in zip(images, cameras, strict=True)]
        return RefocusPipelineOutput(images=pictures)


class PhotoSession:
    """One photo, opened: its conditions are encoded once and serve every camera.

    Args:
        pipeline: Whose model is used.
        photo: The photo.
        depth: See :data:`DepthInput`.
    """

    def __init__(self, pipeline: RefocusPipeline, photo: Photo, depth: DepthInput = None) -> None:
        self._pipeline = pipeline
        self.photo = photo
        model, settings = pipeline.model, pipeline.settings
        width, height = photo.size
        size = settings.trained_size
        self.frame = Frame.fit((height, width), size, model.token_pixels, MAX_ASPECT * size)
        self._full = photo.tensor()[None]
        self.disparity = self._read_depth(depth)
        with torch.no_grad():
            device = model.device
            self._conditions = model.conditions(self.frame.to_model(self._full).to(device), self.disparity.to(device))

    def refocus(
        self, camera: Camera, steps: int = 8, seed: int = 0, on_step: Callable[[int, Tensor], None] | None = None
    ) -> Image.Image:
        """The photo as this camera takes it, at full size, with its record in ``info["diffcam"]``."""
        return self.picture(self.solve([camera], steps, seed, on_step=on_step)[0], camera, steps, seed)

    @torch.no_grad()
    def solve(
        self,
        cameras: Sequence[Camera],
        steps: int = 8,
        seed: int = 0,
        generator: torch.Generator | None = None,
        on_step: Callable[[int, Tensor], None] | None = None,
    ) -> Tensor:
        """Full-size results ``(N, 3, H, W)`` in [0, 1] for N cameras, which share their noise."""
        model = self._pipeline.model
        generator = generator if generator is not None else torch.Generator().manual_seed(seed)
        frame = self.frame
        if any(one.aperture != Aperture() for one in cameras):
            logger.warning(
                "%s: the model draws round openings alone, the camera's aperture is left out", self.photo.name
            )
        asked = [Camera(frame.focus(one.focus), frame.bokeh(one.bokeh), one.aperture) for one in cameras]
        batch = CameraBatch.from_cameras(asked).to(self._conditions.reference.device)
        noise = model.noise(self._conditions, 1, generator).expand(len(cameras), -1, -1, -1)
        solved = model.sample(batch, self._conditions, noise, steps, on_step).float().cpu()
        results = zip(frame.from_model(solved).split(1), cameras, strict=True)
        return torch.cat([upsample_result(self._full, result, self._in_focus(one)) for result, one in results])

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
            "model": self._pipeline.name,
            "seed": seed,
            "steps": steps,
        }

    def _in_focus(self, camera: Camera) -> Tensor | None:
        """Where the photo has no blur and a camera leaves none, ``(1, 1, *content)``; None where depth is unknown."""
        disparity = self.frame.from_model(self.disparity)
        if not disparity.any():
            return None
        height, width = self.frame.content
        row, column = focus_pixel(camera.focus, height, width)
        level = torch.tensor([camera.bokeh * pixels_per_level(height, width)])
        asked = defocus_radius(disparity, disparity[:, 0, row, column], level).abs()
        return in_focus(torch.maximum(asked, self.frame.from_model(self._conditions.own_radius).cpu()))

    def _read_depth(self, depth: DepthInput) -> Tensor:
        """Disparity ``(1, 1, *padded)`` in the model's frame."""
        if isinstance(depth, str):
            if depth != "none":
                raise DiffcamError(f"depth must be a map, None or 'none', got {depth!r}; read a map's file first")
            return torch.zeros(1, 1, *self.frame.padded)
        if depth is not None:
            return self.frame.to_model(_disparity(depth, self.photo))
        if self._pipeline.depth_estimator is not None:
            return self.frame.to_model(self._pipeline.depth_estimator(self._full))
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
    if array.ndim == 3 and array.shape[-1] in (1, 3, 4) and (array[..., :1] == array[..., :3]).all():
        array = array[..., 0]  # grey saved as RGB
    if array.ndim != 2 or array.size == 0:
        raise DiffcamError(f"the depth map must have a single channel, got an array of shape {array.shape}")
    if not np.isfinite(array).all() or array.min() < 0 or array.max() > 1:
        raise DiffcamError("the depth map must hold finite disparities in [0, 1], 0 farthest and 1 nearest")
    width, height = photo.size
    if not same_frame((array.shape[0], array.shape[1]), (height, width)):
        sizes = f"the depth map is {array.shape[1]}x{array.shape[0]}, {photo.name} is {width}x{height}"
        raise DiffcamError(f"{sizes}: they must show the same frame")
    return torch.from_numpy(array)[None, None]
