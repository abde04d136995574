"""Small results carried to full size, against scenes whose full-size truth is known.

A scene is a real photo with a sharp disc of another photo before a background that the result blurs.
"""

from __future__ import annotations

import resource
import time

import numpy as np
import pytest
import scipy.ndimage
import skimage.data
import torch
from torch import Tensor

from diffcam.functional.bokeh import scatter_discs
from diffcam.functional.frame import resize
from diffcam.functional.upsampling import blur_agreement, kept_regions, sharpness_gain, upsample_result


def _kept(reference: torch.Tensor, result: torch.Tensor) -> torch.Tensor:
    """The result with what stays as it was taken from the reference."""
    return torch.lerp(result, reference, kept_regions(reference, result))


def tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(array)).permute(2, 0, 1)[None].float()


def psnr(first: Tensor, second: Tensor, where: Tensor | None = None) -> float:
    error = ((first - second) ** 2).mean(1)
    return float(-10 * torch.log10((error if where is None else error[:, where]).mean().clamp_min(1e-12)))


def scene(blur: float = 8.0) -> tuple[Tensor, Tensor, np.ndarray]:
    """Photo, truth with its background blurred, and distance in pixels outside (+) or inside (-) the sharp disc."""
    background = skimage.data.coffee()[:400, :560].astype(np.float32) / 255
    subject = skimage.data.astronaut()[:400, :512].astype(np.float32) / 255
    subject = np.pad(subject, ((0, 0), (0, 48), (0, 0)), mode="reflect")
    rows, columns = np.mgrid[:400, :560]
    distance = np.hypot(rows - 200, columns - 280) - 130
    inside = (distance < 0)[..., None]
    soft = np.stack([scipy.ndimage.gaussian_filter(background[..., c], blur) for c in range(3)], -1)
    return tensor(np.where(inside, subject, background)), tensor(np.where(inside, subject, soft)), distance


def imperfect(result: Tensor, decibels: float) -> Tensor:
    """A result with smooth errors, as a model makes them."""
    noise = torch.randn(result.shape, generator=torch.Generator().manual_seed(1)).numpy()
    noise = scipy.ndimage.gaussian_filter(noise, (0, 0, 1, 1))
    return (result + torch.from_numpy(noise / noise.std()).float() * 10 ** (-decibels / 20)).clamp(0, 1)


@pytest.mark.parametrize("factor", [2, 4, 8])
@pytest.mark.parametrize("decibels", [None, 34.0])
def test_upsampled_result_is_close_to_the_truth(factor: int, decibels: float | None) -> None:
    photo, truth, distance = scene()
    size = (400 // factor, 560 // factor)
    solved = resize(truth, size)
    if decibels is not None:
        solved = imperfect(solved, decibels)
    output = upsample_result(photo, solved)
    assert psnr(resize(output, size), _kept(resize(photo, size), solved)) >= 45
    assert psnr(output, photo, torch.from_numpy(distance < -4 * factor)) >= 40
    assert psnr(output, truth) > psnr(resize(solved, (400, 560)), truth) + 1.5


def test_no_halo_around_a_sharp_subject() -> None:
    photo, truth, distance = scene()
    solved = resize(truth, (100, 140))
    enlarged, output = resize(solved, (400, 560)), upsample_result(photo, solved)
    ring = torch.from_numpy((distance > 8) & (distance < 32))  # from the second to the eighth solved pixel
    assert psnr(photo, truth, ring) < 26  # what a halo of the photo's own background would score
    assert psnr(output, truth, ring) > 42
    edge = torch.from_numpy(np.abs(distance) < 4)
    assert psnr(output, truth, edge) > psnr(enlarged, truth, edge) + 3


def test_an_unchanged_result_gives_the_photo_back() -> None:
    photo = scene()[0]
    torch.testing.assert_close(upsample_result(photo, resize(photo, (100, 140))), photo, atol=1e-5, rtol=0)


def test_sharpness_gain_of_a_known_change() -> None:
    photo = resize(scene()[0], (100, 140))
    smooth = tensor(scipy.ndimage.uniform_filter(photo[0].permute(1, 2, 0).numpy(), (3, 3, 0), mode="nearest"))
    for gain in (0.0, 0.6, 1.0, 1.5):
        changed = smooth + gain * (photo - smooth)
        detail = photo - smooth
        expected = (detail * (changed - tensor(_box(changed)))).sum() / (detail * detail).sum()
        measured = sharpness_gain(photo, changed)
        assert measured.median() == pytest.approx(float(expected), abs=0.15)
    torch.testing.assert_close(sharpness_gain(photo, photo), torch.ones(1, 1, 100, 140), atol=1e-3, rtol=0)


def _box(image: Tensor) -> np.ndarray:
    return scipy.ndimage.uniform_filter(image[0].permute(1, 2, 0).numpy(), (3, 3, 0), mode="nearest")


def test_changed_regions_are_not_kept() -> None:
    photo = resize(scene()[0], (100, 140))
    assert kept_regions(photo, photo).min() > 0.99
    assert kept_regions(photo, tensor(_box(tensor(_box(photo))))).mean() < 0.05  # blurred
    assert kept_regions(photo, (photo + 0.15).clamp(0, 1)).mean() < 0.05  # another colour
    sharpened = photo + 1.0 * (photo - tensor(_box(photo)))
    assert kept_regions(photo, sharpened).mean() < 0.2


def test_photo_is_kept_in_focus_although_the_result_is_soft() -> None:
    photo, truth, distance = scene()
    disparity = torch.from_numpy(distance < 0)[None, None].float()  # the disc is near, the background far
    solved = resize(truth, (100, 140))
    soft = tensor(_box(tensor(_box(solved))))
    sharp = torch.zeros(1, 1, 100, 140)
    focused = blur_agreement(sharp, 8 * (resize(disparity, (100, 140)) - 1), scatter_discs)
    inside = torch.from_numpy(distance < -16)
    assert psnr(upsample_result(photo, soft), photo, inside) < 35
    assert psnr(upsample_result(photo, soft, focused), photo, inside) > 40
    ring = torch.from_numpy((distance > 8) & (distance < 32))
    assert psnr(upsample_result(photo, solved, focused), truth, ring) > 42


def test_blur_agreement_by_radius() -> None:
    """In focus ends between half a pixel and one and a half; from there on another radius is another picture."""
    own = torch.tensor([0.0, 0.0, 0.0, 0.4, 4.0, 4.0, 4.0, 2.0])[:, None, None, None].expand(-1, 1, 48, 48)
    asked = torch.tensor([0.0, 0.4, 1.0, 0.0, 4.0, 3.0, 0.0, 9.0])[:, None, None, None].expand(-1, 1, 48, 48)
    expected = torch.tensor([1.0, 1.0, -1.0, 1.0, 0.0, -1.0, -1.0, -1.0])
    found = blur_agreement(own.contiguous(), asked.contiguous(), scatter_discs)
    torch.testing.assert_close(found[:, 0, 24, 24], expected, atol=1e-4, rtol=0)


def test_foreground_blur_reaches_neighbours_in_focus() -> None:
    """The right half is blurred by eight pixels: over what lies behind it, not over what lies before it."""
    sharp, right = torch.zeros(1, 1, 64, 64), torch.zeros(1, 1, 64, 64)
    right[..., 32:] = 8.0
    front, behind = blur_agreement(sharp, right, scatter_discs), blur_agreement(sharp, -right, scatter_discs)
    assert (front[..., :23] == 1).all()
    assert (front[..., 26:] < 0.7).all()
    assert (behind[..., :32] == 1).all()
    assert (front[..., 32:] == -1).all()
    assert (behind[..., 32:] == -1).all()


def test_nothing_is_kept_where_blur_was_removed() -> None:
    photo = tensor(_box(tensor(_box(resize(scene()[0], (100, 140))))))
    sharper = (photo + 0.02 * torch.sin(torch.arange(140.0))).clamp(0, 1)
    known = blur_agreement(torch.full((1, 1, 100, 140), 4.0), torch.zeros(1, 1, 100, 140), scatter_discs)
    assert kept_regions(photo, sharper, known).max() == 0
    torch.testing.assert_close(upsample_result(photo, sharper, known), sharper, atol=1e-4, rtol=0)


def test_large_changes_in_focus_are_not_kept() -> None:
    dark = resize(scene()[0], (100, 140)) * 0.3
    veiled = dark.clone()
    veiled[..., :40] = 0.9  # a bright thing nearby, out of focus, spreads over the left
    everywhere = torch.ones(1, 1, 100, 140)
    kept = kept_regions(dark, veiled, everywhere)
    assert kept[..., :36].max() < 0.01
    assert kept[..., 60:].min() > 0.99  # beyond the reach of the widest smoothing


def test_regions_sharper_than_the_photo_come_from_the_result() -> None:
    _, truth, _ = scene()
    photo = tensor(_box(tensor(_box(truth))))
    sharp = resize(scene()[0], (400, 560))
    output = upsample_result(photo, sharp)  # solved at the photo's own size
    assert psnr(output, sharp) > psnr(photo, sharp) + 6


@pytest.mark.parametrize(
    ("full", "small"), [((1, 1), (64, 64)), ((40, 60), (64, 96)), ((3, 500), (4, 640)), ((77, 53), (31, 20))]
)
def test_any_pair_of_sizes(full: tuple[int, int], small: tuple[int, int]) -> None:
    photo = torch.rand(2, 3, *full, generator=torch.Generator().manual_seed(0))
    output = upsample_result(photo, torch.rand(2, 3, *small, generator=torch.Generator().manual_seed(1)))
    assert output.shape == photo.shape
    assert output.isfinite().all()
    assert output.min() >= 0
    assert output.max() <= 1


@pytest.mark.slow
def test_24_megapixels_within_time_and_memory() -> None:
    photo, truth, distance = scene()
    size = (4200, 5880)
    grain = 0.05 * torch.randn(1, 1, *size, generator=torch.Generator().manual_seed(0))
    inside = resize(torch.from_numpy(distance < 0)[None, None].float(), size)
    photo = (resize(photo, size) + grain).clamp(0, 1)
    solved = imperfect(resize((resize(truth, size) + inside * grain).clamp(0, 1), (512, 717)), 36)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with torch.inference_mode():
        output = upsample_result(photo, solved)
    assert time.process_time() - start < 20
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 4e6  # kilobytes
    assert psnr(resize(output, (512, 717)), _kept(resize(photo, (512, 717)), solved)) >= 40
    subject = resize(torch.from_numpy(distance < -6)[None, None].float(), size)[0, 0] == 1
    assert psnr(output, photo, subject) >= 40
