from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from diffcam.functional.frame import Frame, resize, same_frame


def test_landscape_keeps_its_aspect_and_pads_to_whole_tokens() -> None:
    frame = Frame.fit((4000, 6000), short_side=512, multiple=16)
    assert frame.content == (512, 768)
    assert frame.padded == (512, 768)
    odd = Frame.fit((300, 451), short_side=128, multiple=16)
    assert odd.content == (128, 192)  # 451 * 128 / 300 = 192.4
    assert odd.padded == (128, 192)
    assert Frame.fit((130, 100), short_side=64, multiple=16).padded == (96, 64)  # 83.2 rows of content


def test_long_side_limit_lowers_the_level_with_the_size() -> None:
    frame = Frame.fit((100, 1000), short_side=128, multiple=16, long_side=640)
    assert frame.content == (64, 640)
    assert frame.bokeh(10.0) == pytest.approx(5.0)  # radius 10 * 64 / 512 px, at the trained size half the level
    assert Frame.fit((200, 400), 128, 16, long_side=640).bokeh(10.0) == 10.0


def test_small_photos_are_not_enlarged() -> None:
    """An enlarged photo looks blurred, and would be restored from a blur that no lens made."""
    frame = Frame.fit((300, 450), short_side=512, multiple=16)
    assert frame.content == (300, 450)
    assert frame.padded == (304, 464)
    assert frame.bokeh(10.0) == pytest.approx(10 * 300 / 512)
    assert Frame.fit((100, 150), short_side=512, multiple=16).content == (256, 384), "but for those below half"


@given(height=st.integers(1, 3000), width=st.integers(1, 3000), multiple=st.sampled_from([8, 16]))
@settings(max_examples=200, deadline=None)
def test_every_size_fits(height: int, width: int, multiple: int) -> None:
    frame = Frame.fit((height, width), short_side=64, multiple=multiple, long_side=256)
    assert all(padded % multiple == 0 for padded in frame.padded)
    assert all(0 <= padded - content < multiple for padded, content in zip(frame.padded, frame.content, strict=True))
    assert max(frame.content) <= 256
    scale = min(min(max(min(height, width), 32), 64) / min(height, width), 256 / max(height, width))
    for content, side in zip(frame.content, (height, width), strict=True):
        assert abs(content - side * scale) <= 0.5 + 1e-6 or content == 1


def test_focus_stays_on_the_same_thing() -> None:
    frame = Frame.fit((130, 100), short_side=64, multiple=16)
    image = torch.zeros(1, 1, 130, 100)
    image[..., 104:117, 60:70] = 1  # around the point (0.65, 0.85)
    x, y = frame.focus((0.65, 0.85))
    solved = frame.to_model(image)
    assert solved.shape[-2:] == (96, 64)
    assert solved[0, 0, int(y * 96), int(x * 64)] == pytest.approx(1, abs=1e-3)


def test_padding_repeats_the_border_and_comes_off_again() -> None:
    image = torch.rand(2, 3, 20, 30, generator=torch.Generator().manual_seed(0))
    frame = Frame.fit((20, 30), short_side=20, multiple=16)
    padded = frame.to_model(image)
    assert padded.shape == (2, 3, 32, 32)
    assert torch.equal(frame.from_model(padded), image)
    assert torch.equal(padded[..., 20:, :30], image[..., -1:, :].expand(-1, -1, 12, -1))


def test_one_pixel_fits() -> None:
    frame = Frame.fit((1, 1), short_side=64, multiple=16)
    assert torch.equal(frame.to_model(torch.full((1, 3, 1, 1), 0.25)), torch.full((1, 3, 32, 32), 0.25))


def test_resize_stays_in_range_and_keeps_constants() -> None:
    edge = torch.zeros(1, 1, 8, 8)
    edge[..., 4:] = 1
    enlarged = resize(edge, (32, 32))
    assert enlarged.min() >= 0
    assert enlarged.max() <= 1
    assert torch.allclose(resize(torch.full((1, 3, 40, 50), 0.3), (7, 9)), torch.full((1, 3, 7, 9), 0.3), atol=1e-6)


@pytest.mark.parametrize("arguments", [((0, 5), 64, 16), ((5, 5), 0, 16), ((5, 5), 64, 0), ((5, 5), 64, 16, 32)])
def test_impossible_frames_are_refused(arguments: tuple) -> None:
    with pytest.raises(ValueError, match="cannot have these sizes"):
        Frame.fit(*arguments)


def test_frames_are_the_same_up_to_rounding() -> None:
    assert same_frame((3000, 4000), (512, 683))
    assert same_frame((1000, 1000), (1000, 1019))
    assert not same_frame((1000, 1000), (1000, 1021))
    assert not same_frame((1000, 1000), (1000, 979))
    assert not same_frame((300, 400), (400, 300))
