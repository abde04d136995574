"""What holds for every test: one torch thread, repeatable examples, no network."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from hypothesis import settings

os.environ["HF_HUB_OFFLINE"] = "1"  # read when huggingface_hub is imported; a test that reached for the hub would hang

settings.register_profile("repeatable", derandomize=True, deadline=None, database=None)
settings.load_profile("repeatable")


def pytest_configure(config: pytest.Config) -> None:
    """Sums in a fixed order, and two worker processes that do not fight for two cores."""
    torch.set_num_threads(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, by name, what needs a GPU where there is none."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu"):
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture
def generator() -> torch.Generator:
    """A seeded source of random numbers, the same for every test."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model of the packaged kind, very small, with random weights."""
    from diffusers import FluxTransformer2DModel

    from diffcam.models import PatchCodec, RefocusModel, RefocusTransformer
    from diffcam.models.checkpoint import save_model

    torch.manual_seed(0)
    base = FluxTransformer2DModel(
        in_channels=192,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=8,
        pooled_projection_dim=8,
        guidance_embeds=False,
        axes_dims_rope=(4, 6, 6),
    )
    folder = tmp_path_factory.mktemp("models") / "random"
    save_model(RefocusModel(PatchCodec(8), RefocusTransformer(base), short_side=64), folder)
    return folder
