"""RefocusPipeline: photo and camera in, refocused photo out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, Self, get_args

import numpy as np
import torch
from diffusers.utils import BaseOutput
from diffusers.utils.logging import tqdm
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from diffcam.camera import Camera
from diffcam.errors import DiffcamError, check_choice
from diffcam.functional.flow import sampling_timesteps
from diffcam.models.checkpoint import RefocusSettings, save_adapter, save_model
from diffcam.models.codec import VAECodec
from diffcam.models.loading import Device, load_pretrained, usable_device, usable_dtype
from diffcam.models.refocus import RefocusModel
from diffcam.photo.inputs import DepthInput, PhotoInput, TakenWith, as_photo
from diffcam.pretrained.depth import DepthEstimator
from diffcam.pretrained.hub import upload
from diffcam.session import PhotoSession

OutputType = Literal["pil", "np", "pt", "latent"]
"""PIL images; an array ``(N, H, W, 3)`` or a tensor ``(N, 3, H, W)`` in [0, 1]; latents ``(N, C, h, w)`` undecoded."""

StepCallback = Callable[[Any, int, Tensor, dict[str, Tensor]], dict[str, Tensor]]
"""diffusers' form: called after each step with the pipeline, the step's number, its timestep in [0, 1] (1 is noise) and
``{"latents": ...}``; returns the same, with other latents to go on with if it likes."""


@dataclass
class RefocusPipelineOutput(BaseOutput):  # type: ignore[misc]
    """Refocused photos: ``images``, in the asked :data:`OutputType`."""

    images: list[Image.Image] | NDArray[np.float32] | Tensor


class RefocusPipeline:
    """Refocuses photos of any size and aspect.

    Methods and arguments that mean what they mean in diffusers have diffusers' names and behaviour. The class is no
    ``diffusers.DiffusionPipeline``: that is a set of components, each stored by itself and listed in
    ``model_index.json``. This is one network with the settings of its weights, and its folder may hold an adapter
    alone, for a base that is stored elsewhere; most of what it would inherit would have to be refused. So only
    :meth:`from_pretrained` reads what :meth:`save_pretrained` writes, ``DiffusionPipeline.from_pretrained`` does not.

    Args:
        model: The network.
        settings: What its weights were trained with.
        name: Written into the record of every output.
        depth_estimator: From images to disparity; None: photos without a map are solved without one.

    Examples:
        >>> pipe = RefocusPipeline.from_pretrained("diffcam-tiny")
        >>> picture = pipe(torch.rand(3, 48, 64), diffcam.Camera(focus=(0.4, 0.6), bokeh=8), depth="none").images[0]
        >>> picture.size
        (64, 48)
    """

    def __init__(
        self, model: RefocusModel, settings: RefocusSettings, name: str, depth_estimator: DepthEstimator | None = None
    ) -> None:
        self.model = model
        self.settings = settings
        self.name = name
        self.depth_estimator = depth_estimator
        self._progress_bar: dict[str, Any] = {}

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path | None = None,
        *,
        adapter: str | Path | None = None,
        dtype: torch.dtype | str | None = None,
        torch_dtype: torch.dtype | str | None = None,
        device_map: Device | None = None,
        depth_estimator: DepthEstimator | None = None,
        quantization: Literal["8bit", "4bit"] | None = None,
        codec: VAECodec | None = None,
    ) -> Self:
        """Load a pipeline.

        Args:
            source: ``diffcam-tiny`` or another packaged name, an exported model (folder or hub name), or a FLUX.1 base
                (the same), which needs an adapter. None: ``diffcam-tiny``, or the base that the adapter was trained on.
            adapter: Adapter for a FLUX base (folder or hub name).
            dtype, torch_dtype: Of a FLUX base, bfloat16 (default) or float32; embedded models run in float32 alone.
            device_map: Where the model runs, see :data:`diffcam.models.loading.Device`; None: where it is read to.
            depth_estimator: See the class.
            quantization: Of a FLUX base, see :func:`diffcam.models.load_flux_transformer`.
            codec: In place of a FLUX base's own, such as :func:`diffcam.models.load_preview_codec` gives.

        Raises:
            DiffcamError: If something is missing or does not fit, with what to do about it.
        """
        device = None if device_map is None else usable_device(device_map, "device_map")
        dtype = _one_of(dtype=dtype, torch_dtype=torch_dtype)
        loaded = load_pretrained(source, adapter, dtype=dtype, quantization=quantization, codec=codec)
        return cls(*loaded, depth_estimator).to(device=device)

    @property
    def components(self) -> dict[str, Any]:
        """What a further pipeline around the same network is made of: ``RefocusPipeline(**pipe.components)``."""
        return {name: getattr(self, name) for name in ("model", "settings", "name", "depth_estimator")}

    @property
    def device(self) -> torch.device:
        """Where the network runs."""
        return self.model.device

    @property
    def dtype(self) -> torch.dtype:
        """In which data type it runs."""
        return self.model.dtype

    def to(
        self, *targets: Device | torch.dtype, device: Device | None = None, dtype: torch.dtype | None = None
    ) -> Self:
        """Move the network to a device, convert it to a data type, or both, in any order; returns the pipeline.

        Raises:
            DiffcamError: If the network cannot run so; nothing is then changed.
        """
        for target in targets:
            if isinstance(target, torch.dtype):
                dtype = target
            else:
                device = target
        if device is not None:
            device = usable_device(device)
            if self.model.offload_device is not None:
                raise DiffcamError(f"{self.name}: its parts take turns on {self.device}; load it again to move it")
        if dtype is not None:
            usable_dtype(dtype, embedded=not self._has_adapter)
            if getattr(self.model.transformer.base, "hf_quantizer", None) is not None:
                raise DiffcamError(f"{self.name}: is quantised; choose its dtype in from_pretrained")
        self.model.to(device=device, dtype=dtype)
        return self

    def enable_model_cpu_offload(self, gpu_id: int | None = None, device: Device | None = None) -> None:
        """Keep codec and transformer in main memory and move each to the GPU only while it works.

        Raises:
            DiffcamError: If there is no such GPU; nothing is then changed.
        """
        named = _one_of(gpu_id=None if gpu_id is None else f"cuda:{gpu_id}", device=device)
        self.model.offload(usable_device(named or "cuda", "enable_model_cpu_offload: device"))

    def set_progress_bar_config(self, **options: Any) -> None:
        """Options of the progress bar of a call, which are tqdm's; ``disable=True`` shows none."""
        self._progress_bar = options

    def fuse_lora(self) -> None:
        """Add the adapter to the weights of its base, which spares its own products; it is saved as before."""
        self._check_adapter()
        self.model.transformer.base.fuse_lora()

    def unfuse_lora(self) -> None:
        """Take the adapter out of the weights again, to the rounding of their data type."""
        self._check_adapter()
        self.model.transformer.base.unfuse_lora()

    def _check_adapter(self) -> None:
        if not self._has_adapter:
            raise DiffcamError(f"{self.name}: has no adapter to fuse or unfuse; only adapters of a FLUX base are")

    @property
    def _has_adapter(self) -> bool:
        return hasattr(self.model.transformer.base, "peft_config")

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the model folder, or, on a FLUX base, the adapter folder; :meth:`from_pretrained` reads both."""
        if self._has_adapter:
            save_adapter(self.model, Path(folder), steps=self.settings.steps, base=self.settings.base)
        else:
            save_model(self.model, Path(folder), steps=self.settings.steps)

    def push_to_hub(
        self, repo_id: str, commit_message: str | None = None, private: bool | None = None, token: str | None = None
    ) -> str:
        """Upload what :meth:`save_pretrained` writes to ``owner/name`` on the hub; returns the commit's address.

        Raises:
            DiffcamError: If the hub refuses or cannot be reached.
        """
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            return upload(folder, repo_id, message=commit_message, private=private, token=token)

    def open(
        self,
        photo: PhotoInput,
        depth: DepthInput = None,
        *,
        taken_with: TakenWith = None,
        depth_range: tuple[float, float] | None = None,
    ) -> PhotoSession:
        """Encode what all cameras of a photo share; arguments and errors as :class:`diffcam.PhotoSession`."""
        return PhotoSession(
            self.model, photo, depth=depth, taken_with=taken_with, depth_range=depth_range,
            steps=self.settings.steps, name=self.name, depth_estimator=self.depth_estimator,
        )  # fmt: skip

    def __call__(
        self,
        photo: PhotoInput | Sequence[PhotoInput] | None = None,
        camera: Camera | Sequence[Camera] | None = None,
        depth: DepthInput | Sequence[DepthInput] = None,
        *,
        image: PhotoInput | Sequence[PhotoInput] | None = None,
        steps: int | None = None,
        num_inference_steps: int | None = None,
        seed: int = 0,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        output_type: OutputType = "pil",
        return_dict: bool = True,
        callback_on_step_end: StepCallback | None = None,
        callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",),
    ) -> RefocusPipelineOutput | tuple[Any]:
        """Refocus a photo for one camera, or for a sweep of them in one batch; or refocus several photos.

        Args:
            photo, image: A photo, see :data:`PhotoInput`, or a list of photos, which are solved one after the other.
            camera: One, or several for a sweep; for a list of photos one for all or one each.
            depth: See :data:`DepthInput`; for a list of photos one for all or one each.
            steps, num_inference_steps: Sampling steps; None: as many as the weights are meant for.
            seed: Of the noise, which all cameras and photos share; ignored if a generator is given.
            generator: Draws the noise instead; a list has one for each camera of a sweep, or for each photo.
            output_type: See :data:`OutputType`; those that stack pictures need photos of one size.
            return_dict: Whether to return an object with the field ``images``, or a tuple of it.
            callback_on_step_end: See :data:`StepCallback`.
            callback_on_step_end_tensor_inputs: What it is given: the latents or nothing.

        Raises:
            DiffcamError: If something is missing, unknown, or does not fit the photo.
            ValueError: If the number of steps is not positive.
        """
        source = _one_of(photo=photo, image=image)
        steps = _one_of(steps=steps, num_inference_steps=num_inference_steps)
        if source is None or camera is None:
            raise DiffcamError("a photo and a camera are needed, as in pipe(photo, Camera((0.5, 0.5), bokeh=12))")
        check_choice("output_type", output_type, get_args(OutputType))
        if unknown := sorted(set(callback_on_step_end_tensor_inputs) - {"latents"}):
            raise DiffcamError(f"callback_on_step_end_tensor_inputs: no {unknown[0]!r} here, 'latents' alone")
        if isinstance(source, list | tuple) or (isinstance(source, np.ndarray | Tensor) and source.ndim == 4):
            refocus = partial(
                self, steps=steps, seed=seed, output_type=output_type, callback_on_step_end=callback_on_step_end,
                callback_on_step_end_tensor_inputs=callback_on_step_end_tensor_inputs,
            )  # fmt: skip
            shared = {"camera": camera, "depth": depth, "generator": generator}
            images = _refocus_each(refocus, list(source), shared, output_type)
            return RefocusPipelineOutput(images=images) if return_dict else (images,)
        steps = self.settings.steps if steps is None else steps
        times = sampling_timesteps(steps, self.model.shift)
        cameras = [camera] if isinstance(camera, Camera) else list(camera)
        session = self.open(source, depth)  # type: ignore[arg-type]
        with tqdm(total=steps, **self._progress_bar) as bar:

            def on_step(step: int, latents: Tensor) -> Tensor | None:
                bar.update()
                given = dict.fromkeys(callback_on_step_end_tensor_inputs, latents)
                return callback_on_step_end and callback_on_step_end(self, step, times[step], given).get("latents")

            latents = session.latents(cameras, steps, seed, generator=generator, on_step=on_step)
        images = latents if output_type == "latent" else session.images(latents, cameras, seed)
        if output_type == "np":
            images = images.permute(0, 2, 3, 1).numpy()
        if output_type == "pil":
            images = session.pictures(images, cameras, steps, None if generator else seed)
        return RefocusPipelineOutput(images=images) if return_dict else (images,)


def _refocus_each(refocus: Callable[..., Any], photos: list[Any], shared: dict[str, Any], output_type: str) -> Any:
    """Images of several photos; what they share is one for all, or a list with one for each."""
    for name, value in shared.items():
        if not isinstance(value, list | tuple):
            shared[name] = [value] * len(photos)
        elif len(value) != len(photos):
            raise DiffcamError(f"{name}: {len(value)} for {len(photos)} photos; give one for all or one for each")
    opened = [as_photo(photo) for photo in photos]
    if not opened:
        raise DiffcamError("an empty list of photos: give at least one")
    if output_type != "pil" and len({photo.size for photo in opened}) > 1:
        raise DiffcamError(f"output_type {output_type!r}: photos of different sizes do not stack; take 'pil'")
    each = [refocus(*row, generator=draw).images for *row, draw in zip(opened, *shared.values(), strict=True)]
    if output_type == "pil":
        return [picture for pictures in each for picture in pictures]
    return np.concatenate(each) if output_type == "np" else torch.cat(each)


def _one_of(**words: Any) -> Any:
    """What is given under one of several words for the same thing; two of them are refused."""
    given = {word: value for word, value in words.items() if value is not None}
    if len(given) > 1:
        raise DiffcamError(f"{' and '.join(given)} are words for the same thing: give one of them")
    return next(iter(given.values()), None)
