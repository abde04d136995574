"""All-in-focus photographs made from text, for the AI kind of scenes (paper, section 3.1 and appendix D)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from diffcam.errors import DiffcamError, check_choice
from diffcam.pretrained.hub import why_not


@dataclass(eq=False)
class FluxPhotographer:
    """FLUX.1-dev through diffusers, with an adapter against blur; loaded when first called.

    Args:
        model: Name on the hub or a folder, in diffusers' format.
        adapter: LoRA file (safetensors) against blurred backgrounds; None: the model alone, which blurs many.
        dtype: Name of the weights' torch dtype.
        steps: Denoising steps; 28 is diffusers' default.
        guidance: Guidance scale of the guidance-distilled model; 3.5 is diffusers' default.
    """

    model: str = "black-forest-labs/FLUX.1-dev"
    adapter: str | None = None
    adapter_scale: float = 1.0
    device: str = "cpu"
    dtype: str = "bfloat16"
    steps: int = 28
    guidance: float = 3.5

    @cached_property
    def _pipeline(self) -> Any:
        from diffusers import FluxPipeline

        check_choice("dtype", self.dtype, ("bfloat16", "float16", "float32"))
        try:
            dtype = getattr(torch, self.dtype)
            pipeline = FluxPipeline.from_pretrained(self.model, torch_dtype=dtype, use_safetensors=True)
            if self.adapter is not None:
                path = Path(self.adapter)
                pipeline.load_lora_weights(str(path.parent), weight_name=path.name, adapter_name="anti_blur")
                pipeline.set_adapters("anti_blur", self.adapter_scale)
        except (OSError, ValueError) as error:
            reason = why_not(self.model, error)
            raise DiffcamError(f"text-to-image model {self.model}: cannot be loaded: {reason}") from error
        pipeline.set_progress_bar_config(disable=True)
        return pipeline.to(self.device)

    def __getstate__(self) -> dict[str, Any]:
        # Worker processes load the pipeline themselves.
        return {name: value for name, value in self.__dict__.items() if name != "_pipeline"}

    def describe(self) -> dict[str, Any]:
        """All settings but the device, for records."""
        return {name: value for name, value in self.__getstate__().items() if name != "device"}

    @torch.no_grad()
    def __call__(self, prompt: str, seed: int, size: tuple[int, int]) -> Tensor:
        """Make one photo ``(3, H, W)``, float32 display values in [0, 1].

        Args:
            seed: Of the initial noise, drawn on the CPU so that it is the same on every device.
            size: Height and width in pixels, multiples of 16.
        """
        made = self._pipeline(
            prompt,
            height=size[0],
            width=size[1],
            num_inference_steps=self.steps,
            guidance_scale=self.guidance,
            generator=torch.Generator().manual_seed(seed),
            output_type="pt",
        )
        return made.images[0].float().cpu().clamp(0, 1)
