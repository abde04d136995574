from __future__ import annotations

import numpy as np
import pytest
import torch

from diffcam.data import DepthDropout, GaussianNoise, OneOf, Perturbation, RandomMasking, RandomRectangle, Sequential


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("perturbation", [DepthDropout(1.0), RandomMasking(), RandomRectangle(), GaussianNoise()])
def test_a_perturbation_is_repeatable_and_leaves_its_input_alone(perturbation: Perturbation) -> None:
    disparity = torch.linspace(0.1, 0.9, 35).reshape(1, 5, 7)
    before = disparity.clone()
    out = perturbation(disparity, generator())
    assert torch.equal(disparity, before)
    assert out.shape == (1, 5, 7)
    assert out.dtype == torch.float32
    assert 0 <= out.min() <= out.max() <= 1
    assert not torch.equal(out, before)
    assert torch.equal(out, perturbation(disparity, generator()))


def test_dropout_fills_half_of_the_maps_with_zeros() -> None:
    disparity, source = torch.rand(1, 4, 4, generator=generator()), generator(1)
    outs = [DepthDropout()(disparity, source) for _ in range(2000)]
    dropped = [bool((out == 0).all()) for out in outs]
    assert np.mean(dropped) == pytest.approx(0.5, abs=0.04)
    assert all(drop or torch.equal(out, disparity) for drop, out in zip(dropped, outs, strict=True))
    assert not any(bool((DepthDropout(0.0)(disparity, source) == 0).all()) for _ in range(50))


def test_masking_zeroes_three_tenths_of_the_pixels_independently() -> None:
    out = RandomMasking()(torch.ones(1, 300, 300), generator())
    masked = (out[0] == 0).double()
    assert masked.mean() == pytest.approx(0.3, abs=0.01)
    assert (masked[1:] * masked[:-1]).mean() == pytest.approx(0.09, abs=0.01)
    assert set(out.unique().tolist()) == {0.0, 1.0}


def test_rectangle_is_one_rectangle_of_varied_size_and_place() -> None:
    source, areas, corners = generator(), [], set()
    for _ in range(300):
        hole = RandomRectangle()(torch.ones(1, 20, 30), source)[0] == 0
        rows, columns = hole.any(dim=1).nonzero()[:, 0], hole.any(dim=0).nonzero()[:, 0]
        assert hole[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
        assert hole.sum() == (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
        areas.append(int(hole.sum()))
        corners.add((int(rows[0]), int(columns[0])))
    assert min(areas) < 20
    assert max(areas) > 400
    assert len(corners) > 50
    small = [(RandomRectangle(0.1)(torch.ones(1, 20, 30), source) == 0).sum() for _ in range(100)]
    assert 1 <= min(small) <= max(small) <= 2 * 3


def test_noise_has_unit_deviation_before_it_is_clamped() -> None:
    out = GaussianNoise()(torch.full((1, 400, 400), 0.5), generator())[0].double()
    # P(N > 0.5) = 0.3085 on either side of the middle
    assert (out == 0).double().mean() == pytest.approx(0.3085, abs=0.005)
    assert (out == 1).double().mean() == pytest.approx(0.3085, abs=0.005)
    mild = GaussianNoise(0.05)(torch.full((1, 400, 400), 0.5), generator())
    assert mild.std() == pytest.approx(0.05, rel=0.02)


def test_perturbations_compose_in_order() -> None:
    disparity = torch.full((1, 8, 8), 0.5)
    assert (Sequential([GaussianNoise(), DepthDropout(1.0)])(disparity, generator()) == 0).all()
    assert (Sequential([DepthDropout(1.0), GaussianNoise()])(disparity, generator()) > 0).any()
    assert torch.equal(Sequential([])(disparity, generator()), disparity)


def test_perturbations_as_strings() -> None:
    assert str(RandomMasking()) == "random masking, probability 0.3"
    assert str(Sequential([DepthDropout(1.0), GaussianNoise(2)])) == (
        "depth dropout, probability 1.0, then gaussian noise, deviation 2"
    )


@pytest.mark.parametrize(
    ("make", "value"),
    [(DepthDropout, 1.5), (RandomMasking, -0.1), (RandomRectangle, 0), (GaussianNoise, -1), (GaussianNoise, np.nan)],
)
def test_numbers_out_of_range_are_refused(make: type, value: float) -> None:
    with pytest.raises(ValueError, match="must"):
        make(value)


def test_one_of_several_takes_each_in_its_share() -> None:
    disparity, source = torch.full((1, 40, 40), 0.5), generator()
    one = OneOf([DepthDropout(1.0), RandomMasking(0.5)], [0.3, 0.2])
    kept = torch.tensor([float((one(disparity, source) > 0).float().mean()) for _ in range(2000)])
    assert (kept == 0).float().mean() == pytest.approx(0.3, abs=0.04)
    assert (kept == 1).float().mean() == pytest.approx(0.5, abs=0.04)
    assert ((kept > 0.3) & (kept < 0.7)).float().mean() == pytest.approx(0.2, abs=0.04)
    assert str(one) == "30% depth dropout, probability 1.0 or 20% random masking, probability 0.5"


@pytest.mark.parametrize("shares", [[0.5], [0.5, 0.6], [-0.1, 0.5]])
def test_one_of_refuses_wrong_shares(shares: list[float]) -> None:
    with pytest.raises(ValueError, match="shares of 1"):
        OneOf([DepthDropout(), RandomMasking()], shares)
