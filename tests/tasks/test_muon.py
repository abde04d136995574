from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

from diffcam.tasks import Muon
from diffcam.tasks.muon import orthogonalise


def _parameters(seed: int = 0) -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    shapes = {
        "transformer_blocks.0.tall": (24, 8),
        "transformer_blocks.0.wide": (8, 24),
        "transformer_blocks.0.bias": (8,),
        "proj_out": (8, 8),
    }
    return {name: nn.Parameter(torch.randn(shape, generator=generator)) for name, shape in shapes.items()}


def _train(parameters: dict[str, nn.Parameter], optimizers: list[torch.optim.Optimizer], steps: int = 5) -> None:
    generator = torch.Generator().manual_seed(1)
    for _ in range(steps):
        for parameter in parameters.values():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
        for optimizer in optimizers:
            optimizer.step()


def test_takes_the_steps_of_torch_muon_and_torch_adamw() -> None:
    ours, theirs = _parameters(), _parameters()
    _train(ours, [Muon(ours.items(), lr=0.02, weight_decay=0.1)])
    matrices = [value for name, value in theirs.items() if value.ndim == 2 and "blocks" in name]
    others = [value for name, value in theirs.items() if value.ndim == 1 or "blocks" not in name]
    muon = torch.optim.Muon(matrices, lr=0.02, weight_decay=0.1, momentum=0.95, adjust_lr_fn="match_rms_adamw")
    _train(theirs, [muon, torch.optim.AdamW(others, lr=0.02, betas=(0.9, 0.99), weight_decay=0.1)])
    for name, value in theirs.items():
        tolerance = 0.01 if value.ndim == 2 and "blocks" in name else 1e-6  # torch's Muon iterates in bfloat16
        torch.testing.assert_close(ours[name], value, atol=tolerance, rtol=0)


@pytest.mark.parametrize("shape", [(16, 16), (40, 16), (16, 40)])
def test_orthogonalise_keeps_singular_vectors(shape: tuple[int, int]) -> None:
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(2))
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    inner = left.T @ orthogonalise(matrix) @ right.T
    values = inner.diagonal()
    assert values.min() > 0.6
    assert values.max() < 1.3
    assert (inner - torch.diag(values)).abs().max() < 1e-4


def test_state_comes_back() -> None:
    first, second = _parameters(), _parameters()
    optimizer, resumed = Muon(first.items()), Muon(second.items())
    _train(first, [optimizer])
    for name, value in first.items():
        second[name].data.copy_(value.data)
    resumed.load_state_dict(deepcopy(optimizer.state_dict()))
    _train(first, [optimizer])
    _train(second, [resumed])
    for name, value in first.items():
        torch.testing.assert_close(second[name], value, atol=0, rtol=0)
