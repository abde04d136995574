from __future__ import annotations

import importlib
import itertools
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

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
gpu.TILE, gpu.TILES_AT_ONCE = 4, 2  # several tiles, and some of them at once
light = torch.rand(2, 3, 9, 10, generator=draw)
radius = torch.tensor([5.0, 1.5])[:, None, None, None] * (torch.rand(2, 1, 9, 10, generator=draw) - 0.5)
radius[0, 0, 8, 9] = 7.5  # the only one that comes as far as the opposite corner's tile
strength = torch.rand(2, 1, 9, 10, generator=draw) * (torch.rand(2, 1, 9, 10, generator=draw) > 0.2)
for aperture in (Aperture(), Aperture(blades=5, rotation=0.4, cat_eye=0.8)):
    leaf = light.clone().requires_grad_()
    light_sum, weight_sum = scatter_discs(leaf, radius, strength, aperture)
    (light_sum * light).sum().backward()
    for result, expected in zip(gpu.scatter(light, radius, strength, aperture), (light_sum.detach(), weight_sum)):
        torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gpu.gather(light, radius, strength, aperture), leaf.grad, atol=1e-5, rtol=1e-5)
print("equal")
"""


BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

INTERPRETED_BENCHMARK = """
import torch
from diffcam.camera import Aperture
from diffcam.functional.bokeh import scatter_discs
import renderer_gpu

torch.set_num_threads(1)
draw = torch.Generator().manual_seed(0)
light = torch.rand(2, 3, 4, 6, generator=draw)
radius = torch.tensor([6.0, 1.5])[:, None, None, None] * (torch.rand(2, 1, 4, 6, generator=draw) - 0.5)
strength = torch.rand(2, 1, 4, 6, generator=draw)
expected = scatter_discs(light, radius, strength, Aperture())
for result, wanted in zip(renderer_gpu.splat(light, radius, strength), expected):
    torch.testing.assert_close(result, wanted, atol=1e-5, rtol=1e-5)
scene = light[:1], torch.rand(1, 1, 4, 6, generator=draw), torch.tensor([0.5])
renderer_gpu.measure(scene, (2.0, 4.0), torch.device("cpu"), repeat=1, side=8)
"""


def interpret(program: str, *paths: object) -> str:
    """What a program prints whose kernels run in Triton's interpreter."""
    run = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": os.pathsep.join(map(str, [*paths, *sys.path]))},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_kernel_equals_the_reference_in_the_interpreter() -> None:
    assert interpret(INTERPRETED) == "equal\n"


def test_the_benchmarks_scatter_equals_the_reference_and_counts_before_it_times() -> None:
    lines = interpret(INTERPRETED_BENCHMARK, BENCHMARKS).splitlines()
    counted, ceilings = (next(n for n, line in enumerate(lines) if word in line) for word in ("pairs M", "ceilings"))
    assert counted < ceilings
    assert [line.split()[0] for line in lines[ceilings + 2 :]] == ["2", "4"]
    assert all(float(line.split()[-1]) < 1e-5 for line in lines[ceilings + 2 :])


@pytest.fixture
def renderer_gpu(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    return importlib.import_module("renderer_gpu")


def test_the_benchmarks_work_is_a_count(renderer_gpu: ModuleType) -> None:
    """Against loops over every source and every pixel; 130 columns are two blocks."""
    height, width, block = 5, 130, renderer_gpu.BLOCK
    radius = 6 * (torch.rand(1, height, width, generator=torch.Generator().manual_seed(0)) - 0.5)
    radius[0, 2, 129] = 9.5
    reach = radius[0].abs().int() + 1
    needed = splatted = 0
    for y, x in itertools.product(range(height), range(width)):
        own, block_start = int(reach[y, x]), x // block * block
        farthest = int(reach[y, block_start : block_start + block].max())
        for to_y in range(height):
            needed += sum(max(abs(to_y - y), abs(to_x - x)) <= own for to_x in range(width))
            splatted += (2 * farthest + 1) * (abs(to_y - y) <= farthest)
    counted = renderer_gpu.Work.count(radius)
    assert (counted.needed, counted.splatted) == (needed, splatted)
    corner = torch.zeros(1, 48, 16)
    corner[0, 0, 0] = 15.5  # reaches 16 pixels: no disc of the first of three tiles comes to the third
    assert renderer_gpu.Work.count(corner).gathered == 256 * (32 * 33 + 33 * 33 + 3 * 3)
    work = renderer_gpu.Work(1000, 0, 0)
    assert work.limit(10, flops=1e3, bandwidth=1e3) == 17.0  # 17 operations a pair
    assert work.limit(10, flops=1e9, bandwidth=10.0) == 36.0  # 36 bytes a pixel


def test_kernel_compiles_for_real_devices(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Down to machine code, which needs no device: the interpreter accepts more than the compiler does."""
    from triton.backends.compiler import GPUTarget

    from diffcam.kernels import gpu

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    tensors = {"values", "radius", "strength", "ratio", "result", "weights"}
    kinds = {"reaches": "*i32", "cut_scale": "fp32"} | dict.fromkeys(tensors, "*fp32")
    kinds |= dict.fromkeys(("height", "width", "tall", "wide", "table"), "i32")
    signature = {name: kinds.get(name, "constexpr") for name in gpu._disc_kernel.arg_names}
    for shaped, adjoint in itertools.product((False, True), repeat=2):
        constants = {"slope": 4.0, "polygon": shaped, "cut": shaped, "adjoint": adjoint, "tile": gpu.TILE}
        constants["at_once"] = gpu.TILES_AT_ONCE
        source = triton.compiler.ASTSource(fn=gpu._disc_kernel, signature=signature, constexprs=constants)
        assert triton.compile(source, target=GPUTarget("cuda", 80, 32)).asm["cubin"]


def test_the_benchmarks_scatter_compiles_for_real_devices(
    tmp_path, monkeypatch: pytest.MonkeyPatch, renderer_gpu: ModuleType
) -> None:
    from triton.backends.compiler import GPUTarget

    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    kinds = dict.fromkeys(("light", "radius", "strength", "light_sum", "weight_sum"), "*fp32")
    kinds |= {"height": "i32", "width": "i32", "slope": "constexpr", "block": "constexpr"}
    constants = {"slope": 4.0, "block": renderer_gpu.BLOCK}
    source = triton.compiler.ASTSource(fn=renderer_gpu._splat_kernel, signature=kinds, constexprs=constants)
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
