"""Deblurring networks through spandrel, from weights files, and the rows made of them."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import save_file

from diffcam.benchmark import DeblurOnly, NotAvailableError, Restormer, SingleKernel, TwoStage
from diffcam.data import BokehRenderer


@pytest.fixture
def restormer_state() -> dict[str, torch.Tensor]:
    """A small network of Restormer's architecture, random weights."""
    pytest.importorskip("spandrel")
    module = pytest.importorskip("spandrel_extra_arches.architectures.Restormer.__arch.restormer_arch")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = module.Restormer(dim=8, num_blocks=[1, 1, 1, 1], num_refinement_blocks=1, heads=[1, 2, 4, 8])
    return network.state_dict()


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_restormer_from_a_file(restormer_state, tmp_path, edition, suffix) -> None:
    path = tmp_path / f"restormer{suffix}"
    if suffix == ".pth":
        torch.save({"params": restormer_state}, path)
    else:
        save_file({name: value.contiguous() for name, value in restormer_state.items()}, path)
    method = DeblurOnly(Restormer(path))
    method.prepare(tmp_path)
    sample = edition[8]
    module = pytest.importorskip("spandrel_extra_arches.architectures.Restormer.__arch.restormer_arch")
    network = module.Restormer(dim=8, num_blocks=[1, 1, 1, 1], num_refinement_blocks=1, heads=[1, 2, 4, 8])
    network.load_state_dict(restormer_state)
    with torch.no_grad():
        expected = network.eval()(sample.reference[None])[0].clamp(0, 1)
    torch.testing.assert_close(method(sample), expected, atol=1e-5, rtol=0)


def test_sizes_that_the_network_does_not_take(restormer_state, tmp_path) -> None:
    path = tmp_path / "restormer.pth"
    torch.save(restormer_state, path)
    deblur = Restormer(path)
    deblur.prepare()
    assert deblur(torch.rand(3, 37, 50, generator=torch.Generator().manual_seed(0))).shape == (3, 37, 50)


def test_missing_and_foreign_weights_are_refused(tmp_path) -> None:
    pytest.importorskip("spandrel")
    with pytest.raises(NotAvailableError, match="no Restormer weights file"):
        Restormer(tmp_path / "absent.pth").prepare()
    wrong = tmp_path / "wrong.pth"
    torch.save({"weight": torch.zeros(3)}, wrong)
    with pytest.raises(NotAvailableError, match=r"wrong.pth: no restoration network"):
        Restormer(wrong).prepare()
    evil = tmp_path / "evil.pth"
    evil.write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "touched").encode() + b"'\ntR.")
    with pytest.raises(NotAvailableError, match=r"evil.pth: no restoration network"):
        Restormer(evil).prepare()
    assert not (tmp_path / "touched").exists()


def test_deblurring_alone_takes_part_in_its_own_subtask() -> None:
    method = DeblurOnly(SingleKernel())
    assert [method.selects(0, name) for name in ("refocus", "add_bokeh", "remove_bokeh")] == [False, False, True]


def test_single_kernel_sharpens_what_is_blurred_everywhere(psnr) -> None:
    from skimage import data

    from diffcam.functional.bokeh import render_bokeh_reference

    photo = torch.from_numpy(data.astronaut()[60:188, 120:280] / 255).permute(2, 0, 1).float()
    blurred = render_bokeh_reference(
        photo[None], torch.ones(1, 1, 128, 160), torch.tensor([0.0]), torch.tensor([3.0]), 2.2
    )[0]
    restored = SingleKernel(gamma=2.2)(blurred)
    assert psnr(restored[:, 8:-8, 8:-8], photo[:, 8:-8, 8:-8]) > psnr(blurred[:, 8:-8, 8:-8], photo[:, 8:-8, 8:-8]) + 1


def test_two_stages_are_one_after_the_other(edition) -> None:
    class Inverted(SingleKernel):
        def __call__(self, image_3HW: torch.Tensor) -> torch.Tensor:
            return 1 - image_3HW

    sample = edition[8]
    assert torch.equal(TwoStage(Inverted())(sample), 1 - sample.reference), "level 0 leaves the first stage's result"
    blurred = TwoStage(Inverted(), BokehRenderer(gamma=2.2))(edition[0])
    assert blurred.shape == edition[0].reference.shape
    assert not torch.equal(blurred, 1 - edition[0].reference)
