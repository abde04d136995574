from __future__ import annotations

import itertools
import os
import subprocess
import sys

import pytest
import torch

from diffcam.camera import Aperture
from diffcam.functional.bokeh import render_bokeh_reference
from diffcam.kernels import render_bokeh

triton = pytest.importorskip("triton", reason="triton comes with the CUDA builds of torch")

INTERPRETED = """
import torch
from diffcam.camera import Aperture
from diffcam.functional.bokeh import scatter_discs
from diffcam.kernels import gpu

torch.set_num_threads(1)
draw = torch.Generator().manual_seed(0)
light = torch.rand(2, 3, 3, 5, generator=draw)
radius = torch.tensor([5.0, 1.5])[:, None, None, None] * (torch.rand(2, 1, 3, 5, generator=draw) - 0.5)
strength = torch.rand(2, 1, 3, 5, generator=draw) * (torch.rand(2, 1, 3, 5, generator=draw) > 0.2)
for aperture in (Aperture(), Aperture(blades=5, rotation=0.4, cat_eye=0.8)):
    leaf = light.clone().requires_grad_()
    light_sum, weight_sum = scatter_discs(leaf, radius, strength, aperture)
    (light_sum * light).sum().backward()
    for result, expected in zip(gpu.scatter(light, radius, strength, aperture), (light_sum.detach(), weight_sum)):
        torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gpu.gather(light, radius, strength, aperture), leaf.grad, atol=1e-5, rtol=1e-5)
print("equal")
"""


def test_kernel_equals_the_reference_in_the_interpreter() -> None:
    run = subprocess.run(
        [sys.executable, "-c", INTERPRETED],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (run.returncode, run.stdout) == (0, "equal\n"), run.stderr


def test_kernel_compiles_for_real_devices(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Down to machine code, which needs no device: the interpreter accepts more than the compiler does."""
    from triton.backends.compiler import GPUTarget

    from diffcam.kernels import gpu

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    tensors = {"values", "radius", "strength", "ratio", "result", "weights"}
    kinds = {"limits": "*i32", "height": "i32", "width": "i32", "table": "i32", "cut_scale": "fp32"}
    kinds |= dict.fromkeys(tensors, "*fp32")
    signature = {name: kinds.get(name, "constexpr") for name in gpu._disc_kernel.arg_names}
    for shaped, adjoint in itertools.product((False, True), repeat=2):
        constants = {"slope": 4.0, "polygon": shaped, "cut": shaped, "adjoint": adjoint, "block": gpu.BLOCK}
        source = triton.compiler.ASTSource(fn=gpu._disc_kernel, signature=signature, constexprs=constants)
        assert triton.compile(source, target=GPUTarget("cuda", 80, 32)).asm["cubin"]


@pytest.mark.gpu
@pytest.mark.parametrize("aperture", [Aperture(), Aperture(blades=6), Aperture(cat_eye=0.7)])
@pytest.mark.parametrize("gamma", [1.0, 2.2, 4.0])
def test_cuda_equals_the_reference(aperture: Aperture, gamma: float) -> None:
    draw = torch.Generator().manual_seed(0)
    image = torch.rand(3, 3, 100, 90, generator=draw).cuda()
    disparity = torch.rand(3, 1, 100, 90, generator=draw).cuda()
    focus, bokeh = torch.tensor([0.1, 0.5, 0.9]).cuda(), torch.tensor([3.0, 12.0, 30.0]).cuda()
    leaves = [image.clone().requires_grad_() for _ in range(2)]
    results = [
        render_bokeh(leaves[0], disparity, focus, bokeh, gamma, aperture=aperture),
        render_bokeh_reference(leaves[1], disparity, focus, bokeh, gamma, aperture),
    ]
    torch.testing.assert_close(*results, atol=1e-4, rtol=1e-4)
    for result in results:
        (result * image).sum().backward()
    torch.testing.assert_close(leaves[0].grad, leaves[1].grad, atol=1e-3, rtol=1e-2)


@pytest.mark.gpu
def test_cuda_occlusion_equals_the_cpu() -> None:
    draw = torch.Generator().manual_seed(0)
    image, disparity = torch.rand(2, 3, 64, 48, generator=draw), torch.rand(2, 1, 64, 48, generator=draw).round()
    args = (image, disparity, torch.tensor([0.0, 0.6]), torch.tensor([9.0, 14.0]))
    on_gpu = render_bokeh(*(tensor.cuda() for tensor in args), mode="occlusion").cpu()
    torch.testing.assert_close(on_gpu, render_bokeh(*args, mode="occlusion"), atol=5e-3, rtol=0)
