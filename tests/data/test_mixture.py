from __future__ import annotations

import pytest
import torch

from diffcam.data import EqualThenLinear, Proportional, SingleKind
from diffcam.errors import DiffcamError

STEPS = torch.tensor([0, 999, 1000, 1750, 2500, 10**9])
SCENES = {"ai": 1000, "photo": 3000}


def test_the_papers_schedule() -> None:
    probabilities = EqualThenLinear().probabilities(STEPS, SCENES)
    assert probabilities.dtype == torch.float64
    assert probabilities[:, 0].tolist() == [0.5, 0.5, 0.5, 0.75, 1.0, 1.0]
    assert probabilities.sum(dim=1).tolist() == [1.0] * 6


def test_equal_images_start_from_the_counts() -> None:
    probabilities = EqualThenLinear(equal_images=True).probabilities(STEPS, SCENES)
    assert probabilities[:, 0].tolist() == [0.25, 0.25, 0.25, 0.625, 1.0, 1.0]


def test_more_than_two_kinds_fall_together() -> None:
    probabilities = EqualThenLinear("b", 0, 10).probabilities(
        torch.tensor([0, 5, 10]), {"a": 1, "b": 1, "c": 1, "d": 9}
    )
    torch.testing.assert_close(
        probabilities, torch.tensor([[0.25] * 4, [0.125, 0.625, 0.125, 0.125], [0, 1, 0, 0]], dtype=torch.float64)
    )


def test_a_ramp_of_no_length_is_a_step() -> None:
    probabilities = EqualThenLinear("ai", 5, 5).probabilities(torch.tensor([5, 6]), SCENES)
    assert probabilities[:, 0].tolist() == [0.5, 1.0]


def test_data_of_one_kind_need_no_final_kind() -> None:
    assert EqualThenLinear().probabilities(STEPS, {"photo": 3}).tolist() == [[1.0]] * 6


def test_proportional_counts_scenes() -> None:
    assert Proportional().probabilities(STEPS, SCENES).tolist() == [[0.25, 0.75]] * 6


def test_a_single_kind_among_several() -> None:
    assert SingleKind("photo").probabilities(STEPS, SCENES).tolist() == [[0.0, 1.0]] * 6
    with pytest.raises(DiffcamError, match=r"no scene of kind 'phone', only ai, photo"):
        SingleKind("phone").probabilities(STEPS, SCENES)


def test_missing_final_kind_is_an_error() -> None:
    with pytest.raises(DiffcamError, match=r"'ai'.*hold only phone, photo"):
        EqualThenLinear().probabilities(STEPS, {"phone": 1, "photo": 2})


def test_steps_must_be_in_order() -> None:
    with pytest.raises(ValueError, match="equal_until"):
        EqualThenLinear(equal_until=5, linear_to=4)
