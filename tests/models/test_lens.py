"""LensRefocusModel: what an output of zeros is, and what each of its parts does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from skimage.data import chelsea
from torch import Tensor

import diffcam.models
from diffcam.camera import Aperture, Camera, CameraBatch
from diffcam.functional.highlights import raise_highlights
from diffcam.kernels import render_bokeh
from diffcam.models import (
    DeblurNet,
    DefocusNet,
    DefocusRemoval,
    LensRefocusModel,
    PatchCodec,
    RefocusModel,
    embedded_model,
    load_model,
)
from diffcam.models.lens import GRID
from diffcam.models.restoration import Restored

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


class Dimmed(DefocusRemoval):
    """Finds photos to be darker than they are, by this factor."""

    def __init__(self, factor: float) -> None:
        super().__init__(DefocusNet((4, 4, 4), (1, 1, 1)), DeblurNet((4, 4), (1, 1)))
        self.factor = factor

    def forward(self, image_B3HW: Tensor, disparity_B1HW: Tensor, taken_B1HW: Tensor | None = None) -> Restored:
        radius = torch.zeros_like(disparity_B1HW) if taken_B1HW is None else taken_B1HW
        return Restored(image_B3HW * self.factor, radius)


def _taken(model: RefocusModel, photo: Tensor, disparity: Tensor) -> Tensor:
    opened = model.encode_photo(photo, disparity)
    noise = model.noise(opened, 1, torch.Generator().manual_seed(0))
    return model.decode(model.sample(_cameras(), opened, noise, 2))


def _quiet(model: RefocusModel) -> RefocusModel:
    torch.nn.init.zeros_(model.transformer.base.proj_out.weight)
    torch.nn.init.zeros_(model.transformer.base.proj_out.bias)
    return model


def test_clipped_lamps_out_of_focus_are_brighter_than_white_before_they_are_spread(
    make_model: Callable[..., LensRefocusModel],
) -> None:
    _, disparity = _photo()
    night = torch.full((1, 3, 128, 128), 0.05)
    night[..., 40:42, 96:98] = 1  # on the near half, which is out of focus
    model = _quiet(make_model(16))
    expected, plain = (
        render_bokeh(image, disparity, torch.tensor([0.1]), torch.tensor([LEVEL]), GAMMA, mode="occlusion")
        for image in (raise_highlights(night, GAMMA), night)
    )
    assert expected.max() < 1
    assert expected.max() > 2 * plain.max()
    torch.testing.assert_close(_taken(model, night, disparity), expected, atol=2e-4, rtol=0)


@pytest.mark.parametrize(("side", "radius"), [(512, LEVEL), (256, LEVEL / 2)])
def test_an_output_of_zeros_is_what_the_lens_makes_of_the_restored_photo(
    make_model: Callable[..., LensRefocusModel], side: int, radius: float
) -> None:
    """A level is as many pixels as the size says that the model solves at."""
    photo, disparity = _photo()
    model = _quiet(make_model(16, restoration=Dimmed(0.5), short_side=side))
    expected = render_bokeh(photo / 2, disparity, torch.tensor([0.1]), torch.tensor([radius]), GAMMA, mode="occlusion")
    assert (expected - photo / 2).abs().max() > 0.05
    torch.testing.assert_close(_taken(model, photo, disparity), expected, atol=2e-4, rtol=0)


def test_each_camera_of_a_batch_has_its_aperture(make_model: Callable[..., LensRefocusModel]) -> None:
    photo, disparity = _photo()
    model = make_model(16)
    opened = model.encode_photo(photo, disparity)
    apertures = Aperture(), Aperture(blades=5, rotation=0.4)
    asked = [Camera((0.25, 0.5), LEVEL, aperture) for aperture in apertures]
    found = model.decode(model.encode_cameras(CameraBatch.from_cameras(asked), opened).rendered)
    plane, bokeh = torch.tensor([0.1]), torch.tensor([LEVEL])
    for picture, aperture in zip(found.split(1), apertures, strict=True):
        expected = render_bokeh(photo, disparity, plane, bokeh, GAMMA, aperture=aperture, mode="occlusion")
        torch.testing.assert_close(picture, expected, atol=2e-4, rtol=0)
    assert (found[0] - found[1]).abs().max() > 0.02


def test_without_depth_an_output_of_zeros_is_the_restored_photo(make_model: Callable[..., LensRefocusModel]) -> None:
    photo, disparity = _photo()
    model = _quiet(make_model(16, restoration=Dimmed(0.5)))
    torch.testing.assert_close(_taken(model, photo, torch.zeros_like(disparity)), photo / 2, atol=5e-3, rtol=0)


def _clean(model: LensRefocusModel, trust: float, gain: float) -> dict[str, Tensor]:
    """What outputs of one constant in each part give, and what they are made of; all in latents."""
    photo, disparity = _photo()
    opened = model.encode_photo(photo, disparity)
    cameras = model.encode_cameras(_cameras(), opened)
    lens = render_bokeh(photo * 0.8, disparity, torch.tensor([0.1]), torch.tensor([LEVEL]), GAMMA, mode="occlusion")
    torch.testing.assert_close(cameras.rendered, model.codec.encode(lens))
    tokens = torch.zeros(1, 64, model.channels(model.codec).output)
    parts = tokens[..., : -3 * 16**2].view(1, 64, -1, GRID**2)
    parts[:, :, 0], parts[:, :, 1:] = trust, gain
    noisy, timestep = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(1)), torch.tensor([0.7])
    velocity = model.velocity_of(tokens, noisy, timestep, opened, cameras)
    restored = model.codec.encode(photo * 0.8)
    blurred = restored - opened.basis[:, 1:].sum(1)
    return {"restored": restored, "clean": noisy - 0.7 * velocity, "blurred": blurred}


def test_each_part_of_the_output_does_what_it_says(make_model: Callable[..., LensRefocusModel]) -> None:
    model = make_model(16, restoration=Dimmed(0.8))
    kept = _clean(model, -1.0, 0.0)
    torch.testing.assert_close(kept["clean"], kept["restored"], atol=1e-5, rtol=0, msg="no trust: no lens")
    blurred = _clean(model, -1.0, -1.0)
    torch.testing.assert_close(blurred["clean"], blurred["blurred"], atol=1e-5, rtol=0)


def test_a_trusted_map_is_taken_as_it_is(make_model: Callable[..., LensRefocusModel]) -> None:
    photo, disparity = _photo()
    maps = torch.cat([disparity, torch.zeros_like(disparity)])  # known, unknown
    model = make_model(16, trusts_maps=True)
    opened = model.encode_photo(photo.repeat(2, 1, 1, 1), maps)
    cameras = model.encode_cameras(CameraBatch.from_cameras([Camera((0.5, 0.5), LEVEL)] * 2), opened)
    noisy, timestep = torch.zeros_like(cameras.rendered), torch.full((2,), 0.5)
    tokens = torch.ones(2, 64, model.channels(model.codec).output)
    clean = noisy - 0.5 * model.velocity_of(tokens, noisy, timestep, opened, cameras)
    torch.testing.assert_close(clean[0], cameras.rendered[0])
    assert (clean[1] - cameras.rendered[1]).abs().mean() > 0.1


def test_without_a_map_what_was_undone_is_not_blurred_again(make_model: Callable[..., LensRefocusModel]) -> None:
    photo, disparity = _photo()
    model, unknown = make_model(16), torch.zeros_like(disparity)
    own = unknown.clone()
    own[..., 64:] = 5.0  # the right half was blurred
    opened = model.encode_photo(photo, unknown, own)
    cameras = model.encode_cameras(_cameras(), opened)
    tokens = torch.ones(1, 64, model.channels(model.codec).output)
    noisy = torch.zeros_like(cameras.rendered)
    clean = noisy - 0.5 * model.velocity_of(tokens, noisy, torch.tensor([0.5]), opened, cameras)
    torch.testing.assert_close(clean[..., 64:], cameras.rendered[..., 64:])
    assert (clean - cameras.rendered)[..., :64].abs().mean() > 0.1


def test_without_a_restoration_photos_are_sharp(make_model: Callable[..., LensRefocusModel]) -> None:
    photo, disparity = _photo()
    opened = make_model(16).encode_photo(photo, disparity)
    assert torch.equal(opened.restored, photo)
    assert not opened.own_radius.any()


def test_radii_that_are_told_are_the_photo_s(make_model: Callable[..., LensRefocusModel]) -> None:
    photo, disparity = _photo()
    told = 5.0 * (disparity - 0.1)
    for restoration in (None, Dimmed(0.8)):
        assert torch.equal(
            make_model(16, restoration=restoration).encode_photo(photo, disparity, told).own_radius, told
        )


def test_a_transformer_of_other_channels_is_refused(make_model: Callable[..., LensRefocusModel]) -> None:
    model = make_model(4)
    with pytest.raises(ValueError, match="RefocusModel needs Channels"):
        RefocusModel(model.codec, model.transformer)
    with pytest.raises(ValueError, match="LensRefocusModel needs Channels"):
        LensRefocusModel(PatchCodec(8), model.transformer)


def test_the_recipe_derives_every_channel() -> None:
    """Of the packaged model by hand: 16 * 16 * 3 in a token, 8 gains of 2 x 2, two features of 7 bands of 2 x 2."""
    model = embedded_model()
    assert model.transformer.channels == (768, 800, 56, 56)
    packaged, _ = load_model(Path(diffcam.models.__file__).parents[1] / "weights" / "diffcam-tiny")
    model.transformer.load_state_dict(packaged.transformer.state_dict())
    with pytest.raises(ValueError, match="multiple of 32"):
        embedded_model(width=200)
