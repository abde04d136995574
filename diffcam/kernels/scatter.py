"""Spreading light over blur discs on whichever device it lies, differentiable with respect to the light."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from diffcam.camera import Aperture
from diffcam.kernels import cpu


def _backend(device: torch.device) -> ModuleType:
    """The module whose ``scatter`` and ``gather`` run on a device."""
    if device.type == "cpu":
        return cpu
    if device.type == "cuda":
        # Triton comes with the CUDA builds of torch alone.
        from diffcam.kernels import gpu

        return gpu
    raise ValueError(f"no renderer for device '{device.type}': move the tensors to the CPU or a CUDA device")


class _ScatterDiscs(torch.autograd.Function):
    """Forward scatters; backward gathers over the same discs. Weights do not depend on the light."""

    @staticmethod
    def forward(ctx: Any, light: Tensor, radius: Tensor, strength: Tensor, aperture: Aperture) -> tuple[Tensor, Tensor]:
        if ctx.needs_input_grad[1] or ctx.needs_input_grad[2]:
            raise ValueError(
                "the fast renderer has no gradient with respect to disparity, focus or bokeh: "
                "detach them, or use diffcam.functional.bokeh.render_bokeh_reference"
            )
        ctx.save_for_backward(radius, strength)
        ctx.aperture = aperture
        light_sum, weight_sum = _backend(light.device).scatter(light, radius, strength, aperture)
        ctx.mark_non_differentiable(weight_sum)
        return light_sum, weight_sum

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        radius, strength = ctx.saved_tensors
        return _backend(radius.device).gather(grads[0], radius, strength, ctx.aperture), None, None, None


def scatter_discs(
    light_B3HW: Tensor, radius_B1HW: Tensor, strength_B1HW: Tensor, aperture: Aperture
) -> tuple[Tensor, Tensor]:
    """The fast form of ``diffcam.functional.bokeh.scatter_discs``, chosen by device; float32 alone.

    Raises:
        ValueError: If the device has no fast path, or a gradient with respect to the radius is asked for.
    """
    return _ScatterDiscs.apply(light_B3HW, radius_B1HW, strength_B1HW, aperture)


def gather_discs(grad_B3HW: Tensor, radius_B1HW: Tensor, strength_B1HW: Tensor, aperture: Aperture) -> Tensor:
    """Transpose of :func:`scatter_discs` as a linear map of its light; float32 alone, without autograd."""
    return _backend(radius_B1HW.device).gather(grad_B3HW, radius_B1HW, strength_B1HW, aperture)
