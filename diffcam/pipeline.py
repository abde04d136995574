"""RefocusPipeline: photo and camera in, refocused photo out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from diffusers import DiffusionPipeline
from diffusers.utils import BaseOutput
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from diffcam.camera import Camera
from diffcam.errors import DiffcamError
from diffcam.functional.flow import sampling_timesteps
from diffcam.models.checkpoint import (
    ADAPTER_FILES,
    SETTINGS_FILE,
    RefocusSettings,
    load_adapter,
    load_model,
    packaged,
    save_adapter,
    save_model,
)
from diffcam.models.codec import VAECodec
from diffcam.models.flux import load_flux_codec, load_flux_transformer
from diffcam.models.refocus import RefocusModel, StepHook
from diffcam.photo import Photo
from diffcam.pretrained.depth import DepthEstimator
from diffcam.pretrained.hub import local_folder
from diffcam.session import DepthInput, PhotoSession

OutputType = Literal["pil", "np", "pt", "latent"]
"""PIL images; an array ``(N, H, W, 3)`` or a tensor ``(N, 3, H, W)`` in [0, 1]; latents ``(N, C, h, w)`` undecoded."""

StepCallback = Callable[[Any, int, Tensor, dict[str, Tensor]], dict[str, Tensor]]
"""diffusers' form: called after each step with the pipeline, the step's number, its timestep in [0, 1] (1 is noise) and
``{"latents": ...}``; returns the same, with other latents to go on with if it likes."""


@dataclass
class RefocusPipelineOutput(BaseOutput):  # type: ignore[misc]
    """Refocused photos.

    Args:
        images: In the asked :data:`OutputType`.
    """

    images: list[Image.Image] | NDArray[np.float32] | Tensor


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
        dtype: torch.dtype | Literal["bfloat16", "float32"] = "bfloat16",
        depth_estimator: DepthEstimator | None = None,
        quantization: Literal["8bit", "4bit"] | None = None,
        codec: VAECodec | None = None,
    ) -> RefocusPipeline:
        """Load a pipeline.

        Args:
            source: ``diffcam-tiny`` or another packaged name, an exported model folder, or a FLUX.1 base (folder or
                hub name), which needs an adapter. None: ``diffcam-tiny``, or the base that the adapter was trained on.
            adapter: Adapter for a FLUX base (folder or hub name).
            dtype: Of a FLUX base; whole embedded models run in float32.
            depth_estimator: See the class.
            quantization: Of a FLUX base, see :func:`diffcam.models.load_flux_transformer`.
            codec: In place of a FLUX base's own, such as :func:`diffcam.models.load_preview_codec` gives.

        Raises:
            DiffcamError: If something is missing or does not fit, with what to do about it.
        """
        if adapter is None:
            if quantization is not None or codec is not None:
                raise DiffcamError("quantization and codec are chosen for a FLUX base; give its adapter too")
            source = source or "diffcam-tiny"
            folder = packaged(str(source)) or Path(source)
            if not (folder / SETTINGS_FILE).is_file():
                fault = "holds no diffcam model" if folder.is_dir() else "no such model"
                raise DiffcamError(
                    f"{source}: {fault}; give 'diffcam-tiny', a model folder, or a FLUX base and its adapter"
                )
            model, settings = load_model(folder)
            return cls(model, settings, Path(source).name, depth_estimator)
        folder, precision = local_folder(str(adapter), ADAPTER_FILES), _precision(dtype)
        settings = RefocusSettings.read(folder)
        source = source or settings.base
        if not source:
            raise DiffcamError(f"{adapter}: does not say what base it was trained on; name one")
        base = load_flux_transformer(str(source), precision, quantization)
        model = settings.build(codec=codec or load_flux_codec(str(source), precision), base=base)
        for projector in model.transformer.projectors.values():
            projector.to(model.transformer.dtype)
        load_adapter(model, folder)
        return cls(model.eval().requires_grad_(False), settings, f"{source} + {Path(adapter).name}", depth_estimator)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the model folder, or, on a FLUX base, the adapter folder; :meth:`from_pretrained` reads both."""
        if self._has_adapter:
            save_adapter(self.model, Path(folder), steps=self.settings.steps, base=self.settings.base)
        else:
            save_model(self.model, Path(folder), steps=self.settings.steps)

    @property
    def components(self) -> dict[str, Any]:
        """What :meth:`to` moves."""
        return {"model": self.model}

    def enable_model_cpu_offload(self, device: torch.device | str = "cuda") -> None:
        """Keep codec and transformer in main memory and move each to the GPU only while it works."""
        self.model.offload(torch.device(device))

    def fuse_lora(self) -> None:
        """Add the adapter to the weights of its base, which spares its own products.

        :meth:`save_pretrained` writes the same adapter, fused or not.

        Raises:
            DiffcamError: If there is no adapter.
        """
        if not self._has_adapter:
            raise DiffcamError(f"{self.name}: has no adapter to fuse")
        self.model.transformer.base.fuse_lora()

    def unfuse_lora(self) -> None:
        """Take the adapter out of the weights again, to the rounding of their data type.

        Raises:
            DiffcamError: If there is no adapter.
        """
        if not self._has_adapter:
            raise DiffcamError(f"{self.name}: has no adapter to unfuse")
        self.model.transformer.base.unfuse_lora()

    @property
    def _has_adapter(self) -> bool:
        return hasattr(self.model.transformer.base, "peft_config")

    def open(self, photo: Photo | Image.Image, depth: DepthInput = None) -> PhotoSession:
        """Encode what all cameras of a photo share.

        Args:
            photo: Any size and aspect.
            depth: See :data:`DepthInput`.

        Raises:
            DiffcamError: If the map does not fit the photo or holds what is no disparity.
        """
        photo = photo if isinstance(photo, Photo) else Photo.from_image(photo)
        return PhotoSession(self.model, photo, depth, self.settings.trained_size, self.name, self.depth_estimator)

    def __call__(
        self,
        photo: Photo | Image.Image,
        camera: Camera | Sequence[Camera],
        depth: DepthInput = None,
        steps: int = 8,
        seed: int = 0,
        generator: torch.Generator | None = None,
        output_type: OutputType = "pil",
        callback_on_step_end: StepCallback | None = None,
    ) -> RefocusPipelineOutput:
        """Refocus a photo, for one camera or for a sweep of them in one batch.

        Args:
            photo: Any size and aspect.
            camera: One or several.
            depth: See :data:`DepthInput`.
            steps: Sampling steps.
            seed: Of the noise, shared by all cameras; ignored if a generator is given.
            generator: Draws the noise instead.
            output_type: See :data:`OutputType`.
            callback_on_step_end: See :data:`StepCallback`.

        Raises:
            DiffcamError: If there is no camera, the output type is unknown, or the map does not fit.
        """
        if output_type not in get_args(OutputType):
            raise DiffcamError(f"output_type {output_type!r}: must be one of {', '.join(get_args(OutputType))}")
        cameras = [camera] if isinstance(camera, Camera) else list(camera)
        session = self.open(photo, depth)
        on_step = None if callback_on_step_end is None else self._step_hook(callback_on_step_end, steps)
        latents = session.latents(cameras, steps, seed, generator, on_step)
        if output_type == "latent":
            return RefocusPipelineOutput(images=latents)
        images = session.images(latents, cameras)
        if output_type == "pt":
            return RefocusPipelineOutput(images=images)
        if output_type == "np":
            return RefocusPipelineOutput(images=images.permute(0, 2, 3, 1).numpy())
        pictures = [session.picture(image, one, steps, seed) for image, one in zip(images, cameras, strict=True)]
        return RefocusPipelineOutput(images=pictures)

    def _step_hook(self, callback: StepCallback, steps: int) -> StepHook:
        timesteps = sampling_timesteps(steps, self.model.shift)
        return lambda step, latents: callback(self, step, timesteps[step], {"latents": latents}).get("latents")


def _precision(dtype: torch.dtype | str) -> Literal["bfloat16", "float32"]:
    """Name of a data type that FLUX runs in.

    Raises:
        DiffcamError: If it is another.
    """
    if dtype in (torch.bfloat16, "bfloat16"):
        return "bfloat16"
    if dtype in (torch.float32, "float32"):
        return "float32"
    raise DiffcamError(f"dtype {dtype}: must be bfloat16 or float32")
