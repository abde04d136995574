"""The streams against stock FLUX, and both attention modes against a plain implementation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import pytest
import torch
from diffusers import FluxTransformer2DModel

from diffcam.camera import CameraBatch
from diffcam.functional.tokens import focus_positions, grid_positions
from diffcam.models import LoRA, RefocusTransformer
from tests.models.plain import plain_forward

MakeBase = Callable[..., FluxTransformer2DModel]
GRID = (3, 4)


def _inputs(seed: int = 1) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randn(3, 4, 12, 48, generator=generator)
    return {
        "reference": tokens[0, :2],
        "disparity": tokens[1, :2],
        "noisy": tokens[2],
        "timestep": torch.rand(4, generator=generator),
        "cameras": CameraBatch(torch.rand(4, 2, generator=generator), 20 * torch.rand(4, generator=generator)),
    }


def _run(transformer: RefocusTransformer, inputs: dict[str, Any]) -> torch.Tensor:
    photo = transformer.encode_photo_tokens(inputs["reference"], inputs["disparity"], GRID)
    return transformer(inputs["noisy"], inputs["timestep"], inputs["cameras"], photo)


def _plain(transformer: RefocusTransformer, inputs: dict[str, Any]) -> torch.Tensor:
    """Two cameras a photo, all streams in one sequence: reference, disparity, camera, noisy."""
    base = transformer.base
    double = [inputs[name].repeat_interleave(2, 0) for name in ("reference", "disparity")]
    camera = transformer.camera_projector(
        torch.cat([inputs["cameras"].focus * 2 - 1, inputs["cameras"].bokeh[:, None] / 20], -1)
    )[:, None]
    embedded = [base.x_embedder(part) for part in (*double, inputs["noisy"])]
    tokens = torch.cat([embedded[0], embedded[1], camera, embedded[2]], 1)

    pooled = torch.zeros(4, 8)
    noisy_temb = base.time_text_embed(inputs["timestep"] * 1000, pooled)
    zero_temb = base.time_text_embed(torch.zeros(4), pooled)
    shared = transformer.condition_timestep == "shared"
    condition_temb = noisy_temb if shared else zero_temb
    temb = torch.cat(
        [condition_temb[:, None].expand(-1, 24, -1), zero_temb[:, None], noisy_temb[:, None].expand(-1, 12, -1)], 1
    )
    grids = [grid_positions(axis, *GRID)[None].expand(4, -1, -1) for axis in (1, 2, 0)]
    focus = inputs["cameras"].focus if transformer.camera_at_focus else torch.zeros(4, 2)
    positions = torch.cat([grids[0], grids[1], focus_positions(focus, *GRID), grids[2]], 1)
    sees = torch.ones(37, 37, dtype=torch.bool)
    if transformer.attention == "cached":
        sees[:24, 24:] = False
    is_text = torch.zeros(37, dtype=torch.bool)
    is_text[24] = True
    return plain_forward(base, tokens, is_text, temb, positions, sees, transformer.rotary_theta)[:, 25:]


@pytest.mark.parametrize("guidance", [False, True])
def test_stock_input_gives_the_stock_output(make_base: MakeBase, guidance: bool) -> None:
    base = make_base(guidance=guidance)
    generator = torch.Generator().manual_seed(0)
    tokens, text = torch.randn(2, 12, 48, generator=generator), torch.randn(2, 5, 24, generator=generator)
    pooled, timestep = torch.randn(2, 8, generator=generator), torch.rand(2, generator=generator)
    positions, text_positions = grid_positions(0, *GRID), torch.zeros(5, 3)
    stock = base(
        tokens, text, pooled, timestep, positions, text_positions,
        guidance=torch.ones(2) if guidance else None, return_dict=False,
    )[0]  # fmt: skip
    ours = RefocusTransformer(base).stock(tokens, text, timestep, pooled, positions, text_positions)
    torch.testing.assert_close(ours, stock, rtol=0, atol=1e-5)


@pytest.mark.parametrize("lora", [False, True])
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize(
    ("attention", "condition_timestep", "camera_at_focus", "theta"),
    [("full", "zero", True, 10000.0), ("full", "shared", False, 100.0), ("cached", "zero", True, 100.0)],
)
def test_both_modes_agree_with_the_plain_implementation(
    make_base: MakeBase,
    attention: Literal["full", "cached"],
    condition_timestep: Literal["zero", "shared"],
    camera_at_focus: bool,
    theta: float,
    checkpointing: bool,
    lora: bool,
) -> None:
    transformer = RefocusTransformer(make_base(), attention, condition_timestep, camera_at_focus, theta)
    transformer.checkpointed_blocks = 3 * checkpointing
    if lora:
        LoRA(rank=4, targets=("attention", "feed_forward", "modulation")).prepare(transformer)
        for name, parameter in transformer.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(len(name)))
    inputs = _inputs()
    ours = _run(transformer, inputs)
    torch.testing.assert_close(ours, _plain(transformer, inputs), rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
def test_adapters_start_alike_on_every_device(make_base: MakeBase) -> None:
    """Also on a base that is on the GPU already."""
    starts = []
    for device in ("cpu", "cuda"):
        transformer = RefocusTransformer(make_base()).to(device)
        LoRA(rank=4).prepare(transformer)
        starts.append({name: weight.cpu() for name, weight in transformer.named_parameters() if "lora" in name})
    torch.testing.assert_close(*starts, rtol=0, atol=0)


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["full", "cached"])
def test_compiled_blocks_agree_with_the_plain_implementation(
    make_base: MakeBase, attention: Literal["full", "cached"]
) -> None:
    """With adapters and checkpointing, forward and backward; the backend that compiles nothing is traced the same."""
    transformer = RefocusTransformer(make_base(), attention, checkpointed_blocks=3, compile_backend="aot_eager")
    LoRA(rank=4).prepare(transformer)
    for name, parameter in transformer.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(len(name)))
    inputs = _inputs()
    ours, plain = _run(transformer, inputs), _plain(transformer, inputs)
    torch.testing.assert_close(ours, plain, rtol=1e-4, atol=1e-4)
    weight = transformer.camera_projector.weight
    gradients = [torch.autograd.grad(output.square().mean(), weight)[0] for output in (ours, plain)]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("attention", ["full", "cached"])
def test_gradients_are_the_same_with_and_without_checkpointing(
    make_base: MakeBase, attention: Literal["full", "cached"]
) -> None:
    gradients = []
    for checkpointed, offload in ((0, False), (3, False), (3, True)):
        transformer = RefocusTransformer(make_base(), attention, checkpointed_blocks=checkpointed, offload=offload)
        torch.nn.init.ones_(transformer.camera_projector.weight)
        _run(transformer, _inputs()).square().mean().backward()
        gradients.append(transformer.base.x_embedder.weight.grad)
    torch.testing.assert_close(gradients[1], gradients[0])
    torch.testing.assert_close(gradients[2], gradients[0])
    assert gradients[0].abs().max() > 0


def test_cached_conditions_serve_another_camera(make_base: MakeBase) -> None:
    """The second click reuses what the first computed, and gives what a fresh run gives."""
    transformer = RefocusTransformer(make_base(), "cached").eval()
    first, second = _inputs(1), _inputs(2)
    photo = transformer.encode_photo_tokens(first["reference"], first["disparity"], GRID)
    assert photo.memory is not None
    assert len(photo.memory) == 4
    again = transformer(second["noisy"], second["timestep"], second["cameras"], photo)
    fresh = _run(transformer, {**second, "reference": first["reference"], "disparity": first["disparity"]})
    torch.testing.assert_close(again, fresh)


def _without_cues(transformer: RefocusTransformer, projector: torch.nn.Linear | None) -> RefocusTransformer:
    """The same transformer without cues, which the first one's projector now embeds as tokens are embedded."""
    assert projector is not None
    embedder = transformer.base.x_embedder
    projector.load_state_dict({"weight": embedder.weight, "bias": torch.zeros_like(embedder.bias)})
    plain = RefocusTransformer(transformer.base, transformer.attention)
    plain.camera_projector = transformer.camera_projector
    return plain


@pytest.mark.parametrize("attention", ["full", "cached"])
def test_cues_are_added_to_the_embedding_of_the_reference(make_base: MakeBase, attention: Any) -> None:
    """Cues projected as tokens are embedded do what tokens that differ by the cues do."""
    transformer = RefocusTransformer(make_base(), attention, cue_channels=48)
    plain = _without_cues(transformer, transformer.cue_projector)
    inputs, cues = _inputs(1), _inputs(2)["reference"]
    photo = transformer.encode_photo_tokens(inputs["reference"], inputs["disparity"], GRID, cues)
    found = transformer(inputs["noisy"], inputs["timestep"], inputs["cameras"], photo)
    expected = _run(plain, {**inputs, "reference": inputs["reference"] + cues})
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert (expected - _run(plain, inputs)).abs().max() > 1e-3
    with pytest.raises(ValueError, match="cue_channels"):
        _run(transformer, inputs)


@pytest.mark.parametrize("attention", ["full", "cached"])
def test_defocus_cues_are_added_to_the_embedding_of_the_noisy_tokens(make_base: MakeBase, attention: Any) -> None:
    """Cues projected as tokens are embedded do what tokens that differ by the cues do."""
    transformer = RefocusTransformer(make_base(), attention, defocus_channels=48)
    plain = _without_cues(transformer, transformer.defocus_projector)
    inputs, cues = _inputs(1), _inputs(2)["noisy"]
    photo = transformer.encode_photo_tokens(inputs["reference"], inputs["disparity"], GRID)
    found = transformer(inputs["noisy"], inputs["timestep"], inputs["cameras"], photo, cues)
    torch.testing.assert_close(found, _run(plain, {**inputs, "noisy": inputs["noisy"] + cues}), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="defocus_channels"):
        _run(transformer, inputs)
    with pytest.raises(ValueError, match="defocus_channels"):
        plain(
            inputs["noisy"],
            inputs["timestep"],
            inputs["cameras"],
            plain.encode_photo_tokens(inputs["reference"], inputs["disparity"], GRID),
            cues,
        )


def test_the_timestep_reaches_the_noisy_tokens_only(make_base: MakeBase) -> None:
    transformer = RefocusTransformer(make_base(), "full")
    inputs = _inputs()
    streams = transformer._photo_streams(
        transformer.encode_photo_tokens(inputs["reference"], inputs["disparity"], GRID), inputs["timestep"]
    )
    zero = transformer.base.time_text_embed(torch.zeros(1), torch.zeros(1, 8))
    assert all(torch.equal(stream.modulation, zero) for stream in streams)
    assert not torch.equal(transformer._modulation(inputs["timestep"])[:1], zero)


def test_impossible_combinations_are_refused(make_base: MakeBase) -> None:
    with pytest.raises(ValueError, match="cached"):
        RefocusTransformer(make_base(), "cached", "shared")
    transformer = RefocusTransformer(make_base())
    inputs = _inputs()
    with pytest.raises(ValueError, match="cue_channels"):
        transformer.encode_photo_tokens(inputs["reference"], inputs["disparity"], GRID, inputs["reference"])
    with pytest.raises(ValueError, match="do not divide"):
        _run(transformer, {**inputs, "noisy": inputs["noisy"][:3]})


@pytest.mark.parametrize("checkpointed", [0, 4])
def test_a_sweep_does_not_copy_what_is_cached_for_every_camera(make_base: MakeBase, checkpointed: int) -> None:
    """What the blocks are given, and what checkpointing keeps, is of the photos and not of their cameras."""
    transformer = RefocusTransformer(make_base(), "cached", checkpointed_blocks=checkpointed)
    inputs, given = _inputs(), []
    photo = transformer.encode_photo_tokens(inputs["reference"], inputs["disparity"], GRID)
    run = transformer._single
    transformer._single = lambda block, streams, memory: given.append(memory) or run(block, streams, memory)
    transformer(inputs["noisy"], inputs["timestep"], inputs["cameras"], photo)
    assert photo.memory is not None
    assert [id(memory) for memory in given] == [id(memory) for memory in photo.memory[2:]]
