"""How likely each kind of scene is at a training step: a pure function of the step (paper, section 3.3)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from diffcam.errors import DiffcamError


class Mixture(ABC):
    """Probability of each kind of scene over training."""

    @abstractmethod
    def probabilities(self, step_N: Tensor, scenes: Mapping[str, int]) -> Tensor:
        """Probabilities at some steps.

        Args:
            step_N: Optimizer steps, integer.
            scenes: How many scenes of each kind there are, at least one of each.

        Returns:
            ``(N, kinds)`` float64 in the order of ``scenes``; rows sum to 1.
        """


class Proportional(Mixture):
    """Every scene equally likely at every step, as in plain concatenation.

    Examples:
        >>> Proportional().probabilities(torch.tensor([0]), {"photo": 3, "ai": 1})
        tensor([[0.7500, 0.2500]], dtype=torch.float64)
    """

    def probabilities(self, step_N: Tensor, scenes: Mapping[str, int]) -> Tensor:
        """See :meth:`Mixture.probabilities`."""
        return _proportions(scenes).expand(len(step_N), -1)


@dataclass(eq=False)
class SingleKind(Mixture):
    """One kind of scene alone, whatever else is in the shards (paper, table 3).

    Args:
        kind: The kind.

    Examples:
        >>> SingleKind("ai").probabilities(torch.tensor([0]), {"photo": 3, "ai": 1})
        tensor([[0., 1.]], dtype=torch.float64)
    """

    kind: str

    def probabilities(self, step_N: Tensor, scenes: Mapping[str, int]) -> Tensor:
        """See :meth:`Mixture.probabilities`; that kind must be there."""
        if self.kind not in scenes:
            raise DiffcamError(f"the training shards hold no scene of kind {self.kind!r}, only {', '.join(scenes)}")
        chosen = torch.tensor([float(kind == self.kind) for kind in scenes], dtype=torch.float64)
        return chosen.expand(len(step_N), -1)


@dataclass(eq=False)
class EqualThenLinear(Mixture):
    """Equal chances first, then a linear change until only one kind is left (paper, section 3.3 and appendix D).

    Data of a single kind are simply drawn from, whatever that kind is.

    Args:
        final: The kind that remains.
        equal_until: The step up to which chances stay equal.
        linear_to: The step from which only ``final`` is drawn.
        equal_images: Whether "equal" is said of the images (appendix D) instead of the kinds (section 3.3).

    Raises:
        ValueError: If the steps are not in order.

    Examples:
        >>> EqualThenLinear().probabilities(torch.tensor([0, 1750, 2500]), {"photo": 3, "ai": 1})
        tensor([[0.5000, 0.5000],
                [0.2500, 0.7500],
                [0.0000, 1.0000]], dtype=torch.float64)
    """

    final: str = "ai"
    equal_until: int = 1000
    linear_to: int = 2500
    equal_images: bool = False

    def __post_init__(self) -> None:
        start, end = self.equal_until, self.linear_to
        if not 0 <= start <= end:
            raise ValueError(f"the mixture needs 0 <= equal_until <= linear_to, got {start} and {end}")

    def probabilities(self, step_N: Tensor, scenes: Mapping[str, int]) -> Tensor:
        """See :meth:`Mixture.probabilities`; of several kinds, ``final`` must be one."""
        kinds = list(scenes)
        if len(kinds) > 1 and self.final not in kinds:
            raise DiffcamError(
                f"the mixture ends with scenes of kind {self.final!r}, but the training shards hold only "
                f"{', '.join(kinds)}: set the mixture's 'final' to one of these, or use Proportional"
            )
        start = _proportions(scenes) if self.equal_images else torch.full((len(kinds),), 1 / len(kinds)).double()
        end = torch.tensor([float(kind == self.final or len(kinds) == 1) for kind in kinds], dtype=torch.float64)
        ramp = max(self.linear_to - self.equal_until, 1)  # without a ramp the change is a step after equal_until
        progress_N1 = ((step_N.double() - self.equal_until) / ramp).clamp(0, 1)[:, None]
        return start + progress_N1 * (end - start)


def _proportions(scenes: Mapping[str, int]) -> Tensor:
    counts = torch.tensor(list(scenes.values()), dtype=torch.float64)
    return counts / counts.sum()
