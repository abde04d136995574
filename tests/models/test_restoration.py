"""DefocusRemoval: who tells the radii, and its files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from diffcam.camera import CameraBatch
from diffcam.errors import DiffcamError
from diffcam.models import DeblurNet, DefocusNet, DefocusRemoval, LensRefocusModel, load_model, load_restoration
from diffcam.models.checkpoint import save_model


@pytest.fixture
def restoration() -> DefocusRemoval:
    """One that finds blur and changes what is blurred, both without sense."""
    torch.manual_seed(0)
    found = DefocusRemoval(DefocusNet((8, 8, 8), (1, 1, 1)), DeblurNet((8, 8), (1, 1)))
    for head in (found.deblurring.leave, found.defocus.posterior, found.defocus.weight):
        torch.nn.init.normal_(head.weight, std=0.1)
    return found.eval()


def scene() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    disparity = torch.linspace(0, 1, 64).expand(1, 1, 48, 64).contiguous()
    return torch.rand(1, 3, 48, 64, generator=generator), disparity


def test_a_told_radius_is_taken_and_another_is_found(restoration: DefocusRemoval) -> None:
    photo, disparity = scene()
    told = 8 * (disparity - 0.4)
    taken = restoration(photo, disparity, told)
    assert torch.equal(taken.radius, told)
    assert torch.equal(taken.image, restoration.deblurring(photo, told))
    found = restoration(photo, disparity)
    assert torch.equal(found.radius, restoration.defocus.radius(photo, disparity))
    assert not torch.equal(found.image, taken.image)


def test_without_a_map_radii_have_no_sign(restoration: DefocusRemoval) -> None:
    photo, disparity = scene()
    found = restoration(photo, torch.zeros_like(disparity)).radius
    assert torch.equal(found, restoration.defocus.radius(photo, None))
    assert found.min() >= 0


@pytest.mark.parametrize(("radius", "share"), [(4.0, 1.0), (12.0, 0.5), (18.0, 0.0)])
def test_large_radii_that_no_map_explains_are_hardly_undone(
    restoration: DefocusRemoval, monkeypatch: pytest.MonkeyPatch, radius: float, share: float
) -> None:
    image, disparity = scene()
    everywhere = torch.full_like(disparity, radius)
    monkeypatch.setattr(restoration.defocus, "radius", lambda image, disparity: everywhere)
    undone = restoration.deblurring(image, everywhere) - image
    assert undone.abs().max() > 0.01
    without, given, told = (
        restoration(image, torch.zeros_like(disparity)).image,
        restoration(image, disparity).image,
        restoration(image, disparity, everywhere).image,
    )
    torch.testing.assert_close(without, image + share * undone)
    torch.testing.assert_close(given, image + undone)
    torch.testing.assert_close(told, image + undone)


def test_samples_of_a_batch_do_not_know_each_other(restoration: DefocusRemoval) -> None:
    photo, disparity = scene()
    photos, maps = torch.cat([photo, photo.flip(-1)]), torch.cat([torch.zeros_like(disparity), disparity])
    together = restoration(photos, maps)
    for number in range(2):
        alone = restoration(photos[number : number + 1], maps[number : number + 1])
        torch.testing.assert_close(together.image[number : number + 1], alone.image)
        torch.testing.assert_close(together.radius[number : number + 1], alone.radius)


def test_models_keep_their_restoration(
    tmp_path: Path, make_model: Callable[..., LensRefocusModel], restoration: DefocusRemoval
) -> None:
    model = make_model(attention="cached", restoration=restoration)
    save_model(model, tmp_path / "model", dtype=torch.float32)
    loaded, settings = load_model(tmp_path / "model")
    assert settings.lens is not None
    assert settings.lens.mode == "occlusion"
    photo, disparity = scene()
    cameras = CameraBatch(torch.tensor([[0.3, 0.6]]), torch.tensor([7.0]))
    results = []
    for one in (model, loaded):
        opened = one.encode_photo(photo, disparity)
        noise = one.noise(opened, 1, torch.Generator().manual_seed(0))
        results.append(one.decode(one.sample(cameras, opened, noise, 1)))
    torch.testing.assert_close(*results, atol=2e-2, rtol=0)  # its weights are kept in float16
    assert not any(parameter.requires_grad for parameter in model.restoration.parameters())
    standalone = load_restoration(str(tmp_path / "model" / "restoration"))
    assert torch.equal(standalone.deblurring.leave.weight, restoration.deblurring.leave.weight.half().float())
    save_model(loaded, tmp_path / "again")
    for part in ("defocus", "deblurring"):
        files = [tmp_path / name / "restoration" / part for name in ("model", "again")]
        for file in ("config.json", "diffusion_pytorch_model.safetensors"):
            assert (files[0] / file).read_bytes() == (files[1] / file).read_bytes()


def test_a_missing_restoration_is_named(tmp_path: Path) -> None:
    with pytest.raises(DiffcamError, match="no restoration there"):
        load_restoration(str(tmp_path))
