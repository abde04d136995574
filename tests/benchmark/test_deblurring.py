"""Deconvolution: known blur is undone, unknown blur is found."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from skimage import data
from skimage.metrics import peak_signal_noise_ratio

from diffcam.benchmark import LayeredDeconvolution, OracleDeconvolution, RichardsonLucy, SingleKernel, TwoStage, Wiener
from diffcam.benchmark.deblurring import deconvolve, edge_radii, fit_plane_and_level
from diffcam.data import BokehRenderer
from diffcam.errors import DiffcamError
from diffcam.functional.bokeh import render_bokeh_reference


@pytest.fixture(scope="module")
def photo() -> torch.Tensor:
    return torch.from_numpy(data.astronaut()[60:188, 120:280] / 255).permute(2, 0, 1).float()


def blur(image: torch.Tensor, radius: float, gamma: float) -> torch.Tensor:
    everywhere = torch.ones(1, 1, *image.shape[1:])
    return render_bokeh_reference(image[None], everywhere, torch.tensor([0.0]), torch.tensor([radius]), gamma)[0]


@pytest.mark.parametrize("restoration", [RichardsonLucy(15), Wiener(0.003)])
@pytest.mark.parametrize("gamma", [1.0, 2.2])
def test_known_blur_is_undone(photo, restoration, gamma) -> None:
    blurred = blur(photo, 3.0, gamma)
    radii = np.full(photo.shape[1:], 3.0)
    restored = deconvolve(blurred, radii, restoration, gamma)
    inner = (slice(None), slice(8, -8), slice(8, -8))
    before, after = (
        peak_signal_noise_ratio(photo[inner].numpy(), x[inner].numpy(), data_range=1) for x in (blurred, restored)
    )
    assert after > before + 2.5


def test_sharp_pixels_are_kept(photo) -> None:
    radii = np.zeros(photo.shape[1:])
    radii[:, :40] = 3.0
    restored = deconvolve(photo, radii, RichardsonLucy(2), 2.2)
    torch.testing.assert_close(restored[..., 40:], photo[..., 40:], atol=1e-4, rtol=0)
    assert float((restored[..., :40] - photo[..., :40]).abs().mean()) > 0.01


def test_radii_are_found_at_edges(photo) -> None:
    medians = [float(np.median(edge_radii(blur(photo, radius, 2.2), 2.2)[1])) for radius in (2.0, 4.0, 8.0)]
    assert medians == pytest.approx([2.0, 4.0, 8.0], rel=0.5)
    assert medians == sorted(medians)


def test_no_edges() -> None:
    positions, radii = edge_radii(torch.full((3, 32, 32), 0.5), 2.2)
    assert len(radii) == len(positions[0]) == 0
    assert fit_plane_and_level(np.zeros(0), radii, 1.0) == (0.0, 0.0)


def test_lens_is_found_from_noisy_radii() -> None:
    generator = np.random.default_rng(0)
    disparity = generator.uniform(0, 1, 3000)
    radii = 0.5 * 14 * np.abs(disparity - 0.35) + generator.normal(0, 0.2, 3000)
    radii[::4] += generator.uniform(0, 8, 750)  # soft shadows
    plane, level = fit_plane_and_level(disparity, radii, 0.5)
    assert plane == pytest.approx(0.35, abs=0.051)
    assert level == pytest.approx(14, abs=2)


def test_oracle_beats_copying(edition, psnr) -> None:
    oracle = OracleDeconvolution(renderer=BokehRenderer(gamma=2.2))
    gains = [
        psnr(oracle(sample), sample.targets[0]) - psnr(sample.reference, sample.targets[0])
        for sample in (edition[number] for number in (8, 9, 18, 19))
    ]
    assert min(gains) > 0
    assert np.mean(gains) > 1


def test_oracle_needs_to_be_told(edition) -> None:
    from dataclasses import replace

    with pytest.raises(DiffcamError, match="how its reference was blurred"):
        OracleDeconvolution()(replace(edition[8], reference_blur=None))


def test_blind_methods_render_the_asked_blur(edition, psnr) -> None:
    """On an all-in-focus reference there is little to deconvolve, and the renderer's blur must be there."""
    renderer = BokehRenderer(gamma=2.2)
    sample = edition[5]
    assert sample.subtask == "add_bokeh"
    for method in (LayeredDeconvolution(renderer=renderer), TwoStage(SingleKernel(gamma=2.2), renderer)):
        assert psnr(method(sample), sample.targets[0]) > psnr(sample.reference, sample.targets[0]) + 5
