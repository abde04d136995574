from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.data import chelsea
from torch import Tensor

from diffcam.camera import CameraBatch
from diffcam.data import read_shard
from diffcam.errors import DiffcamError
from diffcam.kernels import render_bokeh
from diffcam.models import DefocusRemoval, LensRefocusModel, load_model, load_restoration
from diffcam.models.checkpoint import save_model
from diffcam.models.restoration import STOPPING_PRIOR, Restored

GAMMA = 2.2
SHARDS = Path(__file__).parents[2] / "data_shards"


def _scene() -> tuple[Tensor, Tensor]:
    """A photo that is sharp nearly everywhere, on three depths."""
    photo = torch.from_numpy(chelsea()[30:286, 60:316].astype(np.float32) / 255).permute(2, 0, 1)[None]
    disparity = torch.full((1, 1, 256, 256), 0.1)
    disparity[..., 90:] = 0.5
    disparity[..., 160:, :] = 0.9
    return photo, disparity


def _seen(bokeh: float, focus: float = 0.9) -> Tensor:
    photo, disparity = _scene()
    blurred = render_bokeh(photo, disparity, torch.tensor([focus]), torch.tensor([bokeh]), GAMMA)
    return (blurred * 255).round() / 255


def _decibels(one: Tensor, other: Tensor) -> float:
    return float(-10 * torch.log10((one - other).detach().square().mean()))


@pytest.fixture(scope="module")
def packaged() -> DefocusRemoval:
    return load_restoration("diffcam-tiny").eval()


@pytest.mark.parametrize("bokeh", [3.0, 8.0])
def test_a_known_blur_is_undone(bokeh: float) -> None:
    """By the renderer's discs, which were not made for it; what is in focus stays."""
    photo, disparity = _scene()
    seen, radius = _seen(bokeh), bokeh * (disparity - 0.9).abs()
    restored, further = DefocusRemoval().deconvolve(seen, radius, [10, 30])
    assert _decibels(restored, photo) > _decibels(seen, photo) + 1.5
    assert _decibels(further, photo) > _decibels(restored, photo) + 0.5
    in_focus = radius.expand_as(photo) == 0
    assert _decibels(restored[in_focus], seen[in_focus]) > 40


def test_the_blur_of_a_photo_is_estimated(packaged: DefocusRemoval) -> None:
    _, disparity = _scene()
    for bokeh in (4.0, 9.0):
        radius = bokeh * (disparity - 0.9).abs()
        found, by_depth = packaged.estimate(_seen(bokeh), disparity)
        assert bool(by_depth)
        assert float((found - radius).abs().mean()) < 0.3 * float(radius.mean())


def test_a_map_that_explains_nothing_is_not_believed(packaged: DefocusRemoval) -> None:
    """Radii then come from the place: what is sharp is found sharp, what is blurred blurred."""
    _, disparity = _scene()
    seen, blurred = _seen(10.0), disparity == 0.1
    for wrong in (torch.zeros_like(disparity), disparity.flip(-2)):
        found, by_depth = packaged.estimate(seen, wrong)
        assert not bool(by_depth)
        assert float(found[blurred].mean()) > 4 * float(found[disparity == 0.9].mean())


def test_what_is_sharp_stays_as_it_is(packaged: DefocusRemoval) -> None:
    photo, disparity = _scene()
    restored: Restored = packaged(photo, disparity)
    assert float(restored.radius.mean()) < 0.3
    assert _decibels(restored.image, photo) > 38


@pytest.mark.parametrize("bokeh", [4.0, 10.0])  # 10 pixels of 256 are the strongest blur that is trained on
def test_estimated_blur_is_undone(packaged: DefocusRemoval, bokeh: float) -> None:
    photo, disparity = _scene()
    seen = _seen(bokeh)
    assert _decibels(packaged(seen, disparity).image, photo) > _decibels(seen, photo) + 1.5


def test_without_depth_little_is_broken(packaged: DefocusRemoval) -> None:
    photo, disparity = _scene()
    seen = _seen(6.0)
    assert _decibels(packaged(seen, torch.zeros_like(disparity)).image, photo) > _decibels(seen, photo) - 1


def test_samples_of_a_batch_do_not_know_each_other(packaged: DefocusRemoval) -> None:
    _, disparity = _scene()
    seen = torch.cat([_seen(0.0), _seen(5.0)])
    together = packaged(seen, disparity.expand(2, -1, -1, -1))
    for number, one in enumerate(seen.split(1)):
        torch.testing.assert_close(packaged(one, disparity).image, together.image[number : number + 1])


def test_models_keep_their_restoration(tmp_path: Path, make_model: Callable[..., LensRefocusModel]) -> None:
    model = make_model(attention="cached", restoration=DefocusRemoval(width=8, iterations=2))
    save_model(model, tmp_path / "model", dtype=torch.float32)
    loaded, _ = load_model(tmp_path / "model")
    photo, disparity = _scene()
    photo, disparity = photo[..., :64, :64], disparity[..., :64, :64]
    assert loaded.restoration is not None
    assert (loaded.restoration.config.width, loaded.restoration.iterations) == (8, 2)
    cameras = CameraBatch(torch.tensor([[0.3, 0.6]]), torch.tensor([7.0]))
    results = []
    for one in (model, loaded):
        opened = one.encode_photo(photo, disparity)
        noise = one.noise(opened, 1, torch.Generator().manual_seed(0))
        results.append(one.sample(cameras, opened, noise, 1))
    torch.testing.assert_close(results[0], results[1])
    assert not any(parameter.requires_grad for parameter in model.restoration.parameters())
    standalone = load_restoration(str(tmp_path / "model" / "restoration"))
    assert torch.equal(standalone.head.weight, loaded.restoration.head.weight)
    save_model(loaded, tmp_path / "again")
    configs = [(tmp_path / name / "restoration" / "config.json").read_text() for name in ("model", "again")]
    assert configs[0] == configs[1]  # where it was read from is nobody's business


def test_a_missing_restoration_is_named(tmp_path: Path) -> None:
    with pytest.raises(DiffcamError, match="no restoration there"):
        load_restoration(str(tmp_path))


def test_an_untrained_choice_is_the_usual_number_of_steps() -> None:
    _, disparity = _scene()
    restoration = DefocusRemoval(width=4)
    stages = restoration.stages(_seen(8.0), disparity)
    assert torch.equal(stages.images[:, 0], _seen(8.0))
    shares = torch.tensor([0.0, STOPPING_PRIOR, 0.0]).softmax(0)
    expected = (stages.images * shares.view(1, 3, 1, 1, 1)).sum(1)
    torch.testing.assert_close(restoration.stop(stages), expected)


def test_more_steps_are_taken_where_blur_is_strong_and_none_where_there_is_none(packaged: DefocusRemoval) -> None:
    """On a held-out scene: better than the photo, and than either number of steps everywhere."""
    scene = next(iter(read_shard(SHARDS / "heldout-photo-000000.tar")))
    photo, disparity = scene.image[None, :, :256, :256], scene.disparity[None, :, :256, :256]
    seen = render_bokeh(photo, disparity, torch.tensor([0.8]), torch.tensor([9.0]), GAMMA)
    stages = packaged.stages((seen * 255).round() / 255, disparity)
    before, usual, further = (_decibels(stages.images[:, stage], photo) for stage in range(3))
    assert _decibels(packaged.stop(stages), photo) > max(before + 2, usual, further)
    assert _decibels(packaged(photo, disparity).image, photo) > 45


def test_few_iterations_are_at_least_one() -> None:
    """Without depth a fraction of them is taken: of two that would be none."""
    restoration = load_restoration("diffcam-tiny")
    restoration.iterations = 2
    _, disparity = _scene()
    stages = restoration.stages(_seen(10.0), torch.zeros_like(disparity))
    assert not torch.equal(stages.images[:, 0], stages.images[:, 1])
