"""Tokens, bases, positions and rotary tables against scipy and diffusers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import FluxPipeline
from diffusers.models.embeddings import apply_rotary_emb
from diffusers.models.transformers.transformer_flux import FluxPosEmbed
from scipy import fft

from diffcam.functional.tokens import (
    apply_rotary,
    cosine_basis,
    focus_positions,
    grid_positions,
    patchify,
    rotary_table,
    unpatchify,
)


def test_patches_are_packed_as_flux_packs_them_and_come_back() -> None:
    latent = torch.randn(2, 16, 8, 12)
    assert torch.equal(patchify(latent, 2), FluxPipeline._pack_latents(latent, 2, 16, 8, 12))
    assert torch.equal(unpatchify(patchify(latent, 4), 4, 8, 12), latent)
    with pytest.raises(ValueError, match="8x12"):
        patchify(latent, 5)


def test_cosine_basis_is_scipys_orthonormal_dct() -> None:
    signal = np.random.default_rng(0).normal(size=(16, 3))
    np.testing.assert_allclose(cosine_basis(16).numpy() @ signal, fft.dct(signal, axis=0, norm="ortho"), atol=1e-12)


def test_rotary_embedding_is_that_of_flux_for_one_table() -> None:
    positions = grid_positions(1, 3, 5)
    axes = (8, 12, 12)
    cosine, sine = FluxPosEmbed(10000, list(axes))(positions)
    table = rotary_table(positions[None], axes)
    torch.testing.assert_close(table[0][0], cosine, rtol=0, atol=1e-6)
    heads = torch.randn(2, 15, 4, 32)
    expected = apply_rotary_emb(heads, (cosine, sine), sequence_dim=1)
    torch.testing.assert_close(apply_rotary(heads, table), expected, rtol=0, atol=1e-5)


def test_rotary_scores_depend_on_distance_alone_and_positions_may_differ_by_sample() -> None:
    query, key = torch.randn(2, 1, 1, 1, 16).unbind(0)

    def score(query_at: float, key_at: float) -> float:
        tables = [rotary_table(torch.full((1, 1, 1), at), (16,)) for at in (query_at, key_at)]
        return float((apply_rotary(query, tables[0]) * apply_rotary(key, tables[1])).sum())

    assert score(3.25, 1.0) == pytest.approx(score(7.25, 5.0), abs=1e-4)
    batch = rotary_table(torch.tensor([[[0.0]], [[2.5]]]), (16,))
    torch.testing.assert_close(batch[0][1], rotary_table(torch.tensor([[[2.5]]]), (16,))[0][0])


def test_camera_token_sits_at_the_focus_point() -> None:
    """The centre of the top left token is at fraction 0.5 / columns, and has that token's position."""
    rows, columns = 4, 8
    positions = grid_positions(0, rows, columns).reshape(rows, columns, 3)
    focus = torch.tensor([[(2 + 0.5) / columns, (1 + 0.5) / rows]])
    torch.testing.assert_close(focus_positions(focus, rows, columns)[0, 0], positions[1, 2])
