"""Muon: the optimizer of the embedded model, which has few steps to learn in."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Quintic whose iteration takes singular values in (0, 1] to about 1 in five steps (Jordan et al. 2024)."""


class Muon(torch.optim.Optimizer):
    """Orthogonalised momentum for the matrices of the transformer blocks, AdamW for everything else.

    ``torch.optim.Muon`` takes matrices only, and iterates in bfloat16, which processors without it emulate slowly; this
    one takes a whole model and iterates in float32. Updates of matrices have the size that AdamW's have (Liu et al.
    2025), so that one learning rate serves both.

    Args:
        params: Names and parameters.
        lr: Learning rate.
        momentum: Of matrices; Nesterov's.
        betas: Of AdamW.
        weight_decay: Decoupled, for all.

    Examples:
        >>> weight = torch.nn.Parameter(torch.zeros(2, 2))
        >>> weight.grad = torch.tensor([[8.0, 0.0], [0.0, 1.0]])
        >>> Muon([("transformer_blocks.0.weight", weight)], lr=1.0).step()
        >>> weight.detach().diagonal().round(decimals=1)  # equal steps, though one gradient is eight times the other
        tensor([-0.2000, -0.2000])
    """

    def __init__(
        self,
        params: Iterable[tuple[str, Tensor]],
        lr: float = 2e-3,
        momentum: float = 0.95,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.01,
    ) -> None:
        matrices: list[tuple[str, Tensor]] = []
        others: list[tuple[str, Tensor]] = []
        for name, parameter in params:
            of_block = parameter.ndim == 2 and "transformer_blocks" in name
            (matrices if of_block else others).append((name, parameter))
        groups = [{"params": matrices, "orthogonal": True}, {"params": others, "orthogonal": False}]
        defaults = {"lr": lr, "momentum": momentum, "betas": betas, "weight_decay": weight_decay}
        super().__init__([group for group in groups if group["params"]], defaults)

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            update = self._orthogonal_update if group["orthogonal"] else self._adam_update
            for parameter in group["params"]:
                if parameter.grad is not None:
                    direction = update(parameter, parameter.grad, group)
                    parameter.mul_(1 - group["lr"] * group["weight_decay"]).sub_(direction, alpha=group["lr"])
        return loss

    def _orthogonal_update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
        state, momentum = self.state[parameter], group["momentum"]
        if not state:
            state["momentum"] = torch.zeros_like(parameter)
        state["momentum"].lerp_(gradient, 1 - momentum)
        ahead = gradient.lerp(state["momentum"], momentum)
        return orthogonalise(ahead) * (0.2 * max(parameter.shape) ** 0.5)

    def _adam_update(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> Tensor:
        state, (beta1, beta2) = self.state[parameter], group["betas"]
        if not state:
            state.update(step=0, mean=torch.zeros_like(parameter), square=torch.zeros_like(parameter))
        state["step"] += 1
        state["mean"].lerp_(gradient, 1 - beta1)
        state["square"].lerp_(gradient.square(), 1 - beta2)
        deviation = (state["square"] / (1 - beta2 ** state["step"])).sqrt_().add_(1e-8)
        return state["mean"] / (1 - beta1 ** state["step"]) / deviation


def orthogonalise(matrix: Tensor) -> Tensor:
    """Nearly the closest (semi-)orthogonal matrix: the same singular vectors, singular values between 0.7 and 1.2."""
    linear, cubic, quintic = NEWTON_SCHULZ
    wide = matrix.T if matrix.shape[0] > matrix.shape[1] else matrix
    wide = wide.float() / wide.float().norm().clamp_min(1e-7)
    for _ in range(5):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=cubic, alpha=quintic), wide, beta=linear)
    return (wide.T if matrix.shape[0] > matrix.shape[1] else wide).to(matrix.dtype)
