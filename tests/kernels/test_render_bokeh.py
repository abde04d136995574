from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from diffcam.camera import Aperture
from diffcam.functional.bokeh import render_bokeh_reference
from diffcam.kernels import cpu, render_bokeh
from diffcam.kernels.scatter import gather_discs, scatter_discs

APERTURES = [Aperture(), Aperture(blades=6, rotation=0.3), Aperture(cat_eye=0.8), Aperture(blades=5, cat_eye=0.6)]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def hard_scene(height: int = 96, width: int = 88) -> tuple[Tensor, Tensor]:
    """Texture, lights of single pixels on black, disparity slopes and steps: what makes errors show."""
    draw = torch.Generator().manual_seed(0)
    texture = torch.rand(1, 3, height // 8, width // 8, generator=draw)
    image = interpolate(texture, size=(height, width), mode="bicubic").clamp(0, 1)
    lights = torch.rand(1, 3, height, width // 4, generator=draw) > 0.99
    image[..., : width // 4] *= lights
    image[..., height // 3 : height // 3 + 3, width // 2 : width // 2 + 3] = 1
    disparity = interpolate(torch.rand(1, 1, 4, 4, generator=draw), size=(height, width), mode="bilinear")
    disparity[..., width // 2 :] = 0.9
    disparity[..., height // 4 : height // 2, width // 4 : width // 2] = 0.5
    return image, disparity


def decibels(result: Tensor, expected: Tensor) -> float:
    return float(-10 * torch.log10((result - expected).square().mean()))


@pytest.mark.parametrize("gamma", [1.0, 2.2, 4.0])
@pytest.mark.parametrize("bokeh", [0.5, 1.0, 3.0, 8.0, 20.0, 30.0])
def test_spans_equal_the_reference(gamma: float, bokeh: float) -> None:
    image, disparity = hard_scene()
    focus, level = torch.tensor([0.5]), torch.tensor([bokeh])
    result = render_bokeh(image, disparity, focus, level, gamma)
    expected = render_bokeh_reference(image, disparity, focus, level, gamma)
    assert decibels(result, expected) > 60
    if bokeh <= 1:
        assert float((result - expected).abs().max()) < 1e-3


@pytest.mark.parametrize("aperture", APERTURES[1:])
def test_other_openings_equal_the_reference(aperture: Aperture) -> None:
    image, disparity = hard_scene()
    for bokeh in (2.0, 20.0):
        args = (image, disparity, torch.tensor([0.5]), torch.tensor([bokeh]), 4.0)
        expected = render_bokeh_reference(*args, aperture, True)
        assert decibels(render_bokeh(*args, aperture=aperture, highlights=True), expected) > 60
        assert decibels(render_bokeh(*args, highlights=True), expected) < 50


@pytest.mark.parametrize("radius", [0.4, 2.0, 7.4, 20.5])
def test_disc_has_the_asked_radius_and_keeps_its_energy(radius: float) -> None:
    image = torch.zeros(1, 3, 97, 97)
    image[..., 48, 48] = 1
    disc = render_bokeh(image, torch.ones(1, 1, 97, 97), torch.zeros(1), torch.tensor([radius]), 1.0)[0, 0]
    assert float(disc.sum()) == pytest.approx(1, abs=0.01)
    if radius > 3:
        assert math.sqrt(float(disc.sum() / disc[48, 48]) / math.pi) == pytest.approx(radius, abs=0.2)


def test_images_of_a_batch_have_cameras_of_their_own() -> None:
    image, disparity = hard_scene(40, 40)
    images, disparities = torch.cat([image, image.flip(-1)]), torch.cat([disparity, 1 - disparity])
    focus, bokeh = torch.tensor([0.1, 0.8]), torch.tensor([12.0, 3.0])
    together = render_bokeh(images, disparities, focus, bokeh)
    for b in range(2):
        one = slice(b, b + 1)
        assert torch.equal(together[one], render_bokeh(images[one], disparities[one], focus[one], bokeh[one]))


def test_result_does_not_depend_on_threads() -> None:
    image, disparity = hard_scene(50, 30)
    results = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        results.append(render_bokeh(image, disparity, torch.tensor([0.3]), torch.tensor([15.0])))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 40), (40, 1), (2, 3), (7, 64)])
@pytest.mark.parametrize("aperture", [Aperture(), Aperture(blades=3, cat_eye=1.0)])
def test_blur_wider_than_the_image(height: int, width: int, aperture: Aperture) -> None:
    draw = torch.Generator().manual_seed(height * 100 + width)
    image = torch.rand(1, 3, height, width, generator=draw)
    disparity = torch.rand(1, 1, height, width, generator=draw)
    args = (image, disparity, torch.tensor([0.5]), torch.tensor([60.0]), 2.2)
    assert decibels(render_bokeh(*args, aperture=aperture), render_bokeh_reference(*args, aperture)) > 60


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_keeps_dtype_and_takes_any_memory_layout(dtype: torch.dtype) -> None:
    image, disparity = hard_scene(24, 40)
    focus, bokeh = torch.tensor([0.5]), torch.tensor([6.0])
    plain = render_bokeh(image.to(dtype), disparity.to(dtype), focus.to(dtype), bokeh.to(dtype), 2.2)
    assert plain.dtype == dtype
    expected = render_bokeh_reference(image, disparity, focus, bokeh, 2.2)
    assert decibels(plain.float(), expected) > {torch.float16: 55, torch.bfloat16: 40}.get(dtype, 70)
    strided = image.to(dtype).to(memory_format=torch.channels_last)
    args = (disparity.to(dtype).mT.contiguous().mT, focus.to(dtype), bokeh.to(dtype), 2.2)
    assert torch.equal(render_bokeh(strided, *args), plain)


@pytest.mark.parametrize("aperture", APERTURES)
@pytest.mark.parametrize("gamma", [1.0, 4.0])
def test_gradient_equals_the_references(aperture: Aperture, gamma: float) -> None:
    image, disparity = hard_scene(16, 24)
    cotangent = torch.randn(image.shape, generator=torch.Generator().manual_seed(1))
    grads = []
    for render in (render_bokeh, render_bokeh_reference):
        leaf = image.mul(0.8).add(0.1).requires_grad_()
        result = render(leaf, disparity, torch.tensor([0.3]), torch.tensor([12.0]), gamma, aperture=aperture)
        (result * cotangent).sum().backward()
        grads.append(leaf.grad)
    assert float((grads[0] - grads[1]).norm() / grads[1].norm()) < 2e-3


@pytest.mark.parametrize("aperture", [Aperture(), Aperture(blades=5, cat_eye=0.5)])
def test_gather_is_the_adjoint_of_scatter(aperture: Aperture) -> None:
    draw = torch.Generator().manual_seed(0)
    light, grad = torch.rand(2, 3, 33, 47, generator=draw), torch.randn(2, 3, 33, 47, generator=draw)
    radius = 24 * torch.rand(2, 1, 33, 47, generator=draw) - 12
    strength = torch.rand(2, 1, 33, 47, generator=draw) * (torch.rand(2, 1, 33, 47, generator=draw) > 0.3)
    spread, _ = cpu.scatter(light, radius, strength, aperture)
    # <scatter(light), grad> = <light, gather(grad)>
    forward, backward = (
        (spread.double() * grad).sum(),
        (light.double() * cpu.gather(grad, radius, strength, aperture)).sum(),
    )
    torch.testing.assert_close(forward, backward, rtol=1e-5, atol=1e-3)


def test_refuses_gradients_it_does_not_have() -> None:
    image, disparity = hard_scene(16, 16)
    with pytest.raises(ValueError, match="no gradient with respect to disparity"):
        render_bokeh(image, disparity.requires_grad_(), torch.zeros(1), torch.ones(1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": torch.ones(1, 4, 8, 8)}, "image must be"),
        ({"disparity": torch.full((1, 1, 8, 8), float("nan"))}, "finite"),
        ({"bokeh": -torch.ones(1)}, "negative"),
        ({"gamma": 7.0}, "gamma"),
        ({"mode": "neural"}, "mode must be one of classical, occlusion"),
    ],
)
def test_refuses_bad_input(change: dict, message: str) -> None:
    good = {
        "image": torch.ones(1, 3, 8, 8),
        "disparity": torch.zeros(1, 1, 8, 8),
        "focus_disparity": torch.zeros(1),
        "bokeh": torch.ones(1),
    }
    with pytest.raises(ValueError, match=message):
        render_bokeh(**{**good, **change})


def test_refuses_a_device_without_a_path() -> None:
    light, one = torch.ones(1, 3, 8, 8, device="meta"), torch.ones(1, 1, 8, 8, device="meta")
    with pytest.raises(ValueError, match="no renderer for device 'meta'"):
        scatter_discs(light, one, one, Aperture())


FORKING = """
import torch
from torch.utils.data import DataLoader, Dataset
from diffcam.kernels import cpu, render_bokeh

class Rendered(Dataset):
    def __len__(self): return 6
    def __getitem__(self, index):
        draw = torch.Generator().manual_seed(index)
        image, disparity = torch.rand(1, 3, 64, 64, generator=draw), torch.rand(1, 1, 64, 64, generator=draw)
        return render_bokeh(image, disparity, torch.tensor([0.5]), torch.tensor([9.0]))[0]

torch.set_num_threads(2)
before = torch.stack([Rendered()[index] for index in range(6)])
loaded = torch.cat(list(DataLoader(Rendered(), batch_size=2, num_workers=2, multiprocessing_context="fork")))
assert torch.equal(before, loaded)
assert torch.equal(before, torch.stack([Rendered()[index] for index in range(6)]))
print("equal")
"""


def test_survives_a_fork_into_loader_workers() -> None:
    run = subprocess.run([sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=120, check=False)
    assert (run.returncode, run.stdout) == (0, "equal\n"), run.stderr


def test_gathering_is_the_transpose_of_scattering() -> None:
    """``<u, A x> = <A' u, x>`` for any u and x."""
    image, disparity = hard_scene()
    radius = 9 * (disparity - 0.4)
    strength = 1 / (radius.square() + 0.2)
    other = torch.rand(image.shape, generator=torch.Generator().manual_seed(1))
    scattered, _ = scatter_discs(image, radius, strength, Aperture())
    gathered = gather_discs(other, radius, strength, Aperture())
    assert float((other * scattered).sum()) == pytest.approx(float((gathered * image).sum()), rel=1e-5)
