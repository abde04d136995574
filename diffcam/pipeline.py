"""RefocusPipeline: photo and camera in, refocused photo out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers import DiffusionPipeline
from diffusers.utils import BaseOutput
from PIL import Image
from torch import Tensor

from diffcam.camera import Camera
from diffcam.errors import DiffcamError
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
from diffcam.session import DepthInput, PhotoSession


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
        quantization: Literal["8bit", "4bit"] | None = None,
    ) -> RefocusPipeline:
        """Load a pipeline.

        Args:
            source: ``diffcam-tiny`` or another packaged name, an exported model folder, or a FLUX.1 base (folder or
                hub name), which needs an adapter. None: ``diffcam-tiny``, or the base that the adapter was trained on.
            adapter: Adapter folder for a FLUX base.
            dtype: Of a FLUX base; whole embedded models run in float32.
            depth_estimator: See the class.
            quantization: Of a FLUX base, see :func:`diffcam.models.load_flux_transformer`.

        Raises:
            DiffcamError: If something is missing or does not fit, with what to do about it.
        """
        if adapter is None:
            if quantization is not None:
                raise DiffcamError(f"quantization {quantization} is of a FLUX base; give its adapter too")
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
        base = load_flux_transformer(str(source), dtype, quantization)
        model = settings.build(load_flux_codec(str(source), dtype), base)
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
