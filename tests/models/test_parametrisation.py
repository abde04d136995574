"""Output parametrisations: what an output of zeros is, and what each of its parts does."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from skimage.data import chelsea
from torch import Tensor

from diffcam.camera import CameraBatch
from diffcam.functional.flow import velocity_from_clean
from diffcam.kernels import render_bokeh
from diffcam.models import LensOutput, PatchCodec, RefocusModel, ResidualOutput, VelocityOutput
from diffcam.models.restoration import DefocusRemoval, Restored

GAMMA = 2.2
LEVEL = 6.0


def _photo() -> tuple[Tensor, Tensor]:
    """A photo before whose right half something is near."""
    photo = torch.from_numpy(chelsea()[60:188, 120:248].astype("float32") / 255).permute(2, 0, 1)[None]
    disparity = torch.full((1, 1, 128, 128), 0.1)
    disparity[..., 64:] = 0.9
    return photo, disparity


def _cameras() -> CameraBatch:
    """Focused on the left half."""
    return CameraBatch(torch.tensor([[0.25, 0.5]]), torch.tensor([LEVEL]))


class Halved(DefocusRemoval):
    """Finds photos to be half as bright as they are."""

    def forward(self, image_B3HW: Tensor, disparity_B1HW: Tensor) -> Restored:
        return Restored(image_B3HW / 2, torch.zeros_like(disparity_B1HW))


def _taken(model: RefocusModel, photo: Tensor, disparity: Tensor) -> Tensor:
    conditions = model.conditions(photo, disparity)
    noise = model.noise(conditions, 1, torch.Generator().manual_seed(0))
    return model.decode(model.sample(_cameras(), conditions, noise, 2))


def _quiet(model: RefocusModel) -> RefocusModel:
    torch.nn.init.zeros_(model.transformer.base.proj_out.weight)
    torch.nn.init.zeros_(model.transformer.base.proj_out.bias)
    return model


@pytest.mark.parametrize(("side", "radius"), [(512, LEVEL), (256, LEVEL / 2)])
def test_an_output_of_zeros_is_what_the_lens_makes_of_the_restored_photo(
    make_model: Callable[..., RefocusModel], side: int, radius: float
) -> None:
    """A level is as many pixels as the size says that the model solves at."""
    photo, disparity = _photo()
    model = _quiet(make_model(16, restoration=Halved(width=2)))
    model.solve_at(side)
    expected = render_bokeh(photo / 2, disparity, torch.tensor([0.1]), torch.tensor([radius]), GAMMA)
    assert (expected - photo / 2).abs().max() > 0.05
    torch.testing.assert_close(_taken(model, photo, disparity), expected, atol=2e-4, rtol=0)


def test_without_depth_an_output_of_zeros_is_the_restored_photo(make_model: Callable[..., RefocusModel]) -> None:
    photo, disparity = _photo()
    model = _quiet(make_model(16, restoration=Halved(width=2)))
    torch.testing.assert_close(_taken(model, photo, torch.zeros_like(disparity)), photo / 2, atol=5e-3, rtol=0)


def _clean(trust: float, gain: float) -> dict[str, Tensor]:
    """What outputs of one constant in each part give, and what they are made of; all in latents."""
    photo, disparity = _photo()
    codec, output = PatchCodec(16), LensOutput(GAMMA)
    restored = photo * 0.8
    retaken = output.retaken(restored, disparity, torch.tensor([0.1]), torch.tensor([LEVEL]))
    assert retaken is not None
    latents = {"reference": codec.encode(photo), "restored": codec.encode(restored), "lens": codec.encode(retaken)}
    tokens = torch.zeros(1, 64, output.channels(codec))
    parts = tokens[..., : -3 * 16**2].view(1, 64, -1, LensOutput.GRID**2)
    parts[:, :, 0], parts[:, :, 1:] = trust, gain
    noisy, timestep = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(1)), torch.tensor([0.7])
    basis = output.basis(latents["reference"], latents["restored"])
    velocity = output.velocity(tokens, noisy, basis, latents["lens"], timestep, codec)
    blurred = latents["restored"] - basis[:, 1:].sum(1)
    return {**latents, "clean": noisy - 0.7 * velocity, "blurred": blurred}


def test_each_part_of_the_output_does_what_it_says() -> None:
    kept = _clean(-1.0, 0.0)
    torch.testing.assert_close(kept["clean"], kept["restored"], atol=1e-5, rtol=0, msg="no trust: no lens")
    blurred = _clean(-1.0, -1.0)
    torch.testing.assert_close(blurred["clean"], blurred["blurred"], atol=1e-5, rtol=0)


def test_only_the_lens_asks_for_a_retaken_photo() -> None:
    photo, disparity = _photo()
    codec, noisy = PatchCodec(16), torch.zeros(1, 3, 128, 128)
    for output in (VelocityOutput(), ResidualOutput()):
        assert output.retaken(photo, disparity, torch.tensor([0.1]), torch.tensor([LEVEL])) is None
    tokens, reference = torch.zeros(1, 64, 768), codec.encode(photo)
    residual = ResidualOutput().velocity(tokens, noisy, reference, None, torch.tensor([0.5]), codec)
    torch.testing.assert_close(residual, velocity_from_clean(noisy, reference, torch.tensor([0.5])))
    lens = LensOutput()
    with pytest.raises(ValueError, match="there is none"):
        lens.velocity(
            torch.zeros(1, 64, lens.channels(codec)), noisy, lens.basis(reference, reference), None,
            torch.tensor([0.5]), codec,
        )  # fmt: skip
