"""Random draws that depend on nothing but the numbers naming them, so that any worker can make any scene."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import torch

from diffcam.data.randomness import derived_generator

Item = TypeVar("Item")


class Draws:
    """Scalar and array draws from one explicit generator.

    Args:
        *path: What the draws belong to, for example a seed, a purpose and a scene index. Equal paths give equal draws;
            paths that differ anywhere give independent ones, which adding a number to a seed would not.
    """

    def __init__(self, *path: int | str) -> None:
        self.generator = derived_generator(*path)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """One number in [low, high)."""
        return low + (high - low) * float(torch.rand((), generator=self.generator, dtype=torch.float64))

    def integer(self, low: int, high: int) -> int:
        """One integer in [low, high], both ends included."""
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.uniform() < probability

    def choice(self, items: Sequence[Item]) -> Item:
        """One of the items, all equally likely."""
        return items[self.integer(0, len(items) - 1)]

    def uniforms(self, shape: tuple[int, ...], low: float = 0.0, high: float = 1.0) -> np.ndarray:
        """An array of numbers in [low, high)."""
        return low + (high - low) * torch.rand(shape, generator=self.generator, dtype=torch.float64).numpy()

    def normals(self, shape: tuple[int, ...]) -> np.ndarray:
        """An array of standard normal numbers."""
        return torch.randn(shape, generator=self.generator, dtype=torch.float64).numpy()
