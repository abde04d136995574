"""Imperfect disparity, given to the model in place of the exact map (paper, section 3.2 and appendix E)."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


class Perturbation(ABC):
    """A change to a disparity map."""

    @abstractmethod
    def __call__(self, disparity_1HW: Tensor, generator: torch.Generator) -> Tensor:
        """Return a changed copy, ``(1, H, W)`` in [0, 1]; the argument is left as it is."""

    def __str__(self) -> str:
        """Name and settings in words, such as "gaussian noise, deviation 1.0"."""
        name = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(self).__name__).lower()
        return ", ".join([name, *(f"{setting} {value}" for setting, value in vars(self).items())])


class DepthDropout(Perturbation):
    """Fill the whole map with zeros (paper, section 3.2); with probability 1, table 6's "0 depth".

    Args:
        probability: Of doing so.

    Raises:
        ValueError: If it lies outside [0, 1].

    Examples:
        >>> DepthDropout(1.0)(torch.ones(1, 1, 3), torch.Generator())
        tensor([[[0., 0., 0.]]])
    """

    def __init__(self, probability: float = 0.5) -> None:
        self.probability = _check_probability(probability)

    def __call__(self, disparity_1HW: Tensor, generator: torch.Generator) -> Tensor:
        """See :meth:`Perturbation.__call__`."""
        drop = bool(torch.rand((), generator=generator) < self.probability)
        return torch.zeros_like(disparity_1HW) if drop else disparity_1HW.clone()


class RandomMasking(Perturbation):
    """Set each pixel to zero independently (paper, table 6).

    Args:
        probability: Of each pixel.

    Raises:
        ValueError: If it lies outside [0, 1].

    Examples:
        >>> RandomMasking(0.3)(torch.ones(1, 100, 100), torch.Generator().manual_seed(0)).mean().round(decimals=1)
        tensor(0.7000)
    """

    def __init__(self, probability: float = 0.3) -> None:
        self.probability = _check_probability(probability)

    def __call__(self, disparity_1HW: Tensor, generator: torch.Generator) -> Tensor:
        """See :meth:`Perturbation.__call__`."""
        keep = torch.rand(disparity_1HW.shape, generator=generator) >= self.probability
        return disparity_1HW * keep


class RandomRectangle(Perturbation):
    """Set a rectangle of random size and place to zero (paper, table 6).

    Args:
        largest: Largest side, as a share of the map's; the smallest is one pixel.

    Raises:
        ValueError: If it lies outside (0, 1].

    Examples:
        >>> RandomRectangle(0.5)(torch.ones(1, 3, 4), torch.Generator().manual_seed(0))
        tensor([[[1., 1., 1., 1.],
                 [1., 1., 1., 1.],
                 [0., 1., 1., 1.]]])
    """

    def __init__(self, largest: float = 1.0) -> None:
        if not 0.0 < largest <= 1.0:
            raise ValueError(f"largest must lie in (0, 1], got {largest}")
        self.largest = largest

    def __call__(self, disparity_1HW: Tensor, generator: torch.Generator) -> Tensor:
        """See :meth:`Perturbation.__call__`."""
        spans = []
        for length in disparity_1HW.shape[1:]:
            size, place = torch.rand(2, generator=generator).tolist()
            side = min(1 + int(size * self.largest * length), length)
            start = int(place * (length - side + 1))
            spans.append(slice(start, start + side))
        cut = disparity_1HW.clone()
        cut[:, spans[0], spans[1]] = 0
        return cut


class GaussianNoise(Perturbation):
    """Add independent Gaussian noise to each pixel, then return to [0, 1] (paper, table 6: unit noise).

    Args:
        deviation: Standard deviation in units of disparity.

    Raises:
        ValueError: If it is negative or not finite.

    Examples:
        >>> GaussianNoise(0.1)(torch.full((1, 100, 100), 0.5), torch.Generator().manual_seed(0)).std().round(decimals=2)
        tensor(0.1000)
    """

    def __init__(self, deviation: float = 1.0) -> None:
        if not 0.0 <= deviation < float("inf"):
            raise ValueError(f"deviation must be finite and at least 0, got {deviation}")
        self.deviation = deviation

    def __call__(self, disparity_1HW: Tensor, generator: torch.Generator) -> Tensor:
        """See :meth:`Perturbation.__call__`."""
        noise = torch.randn(disparity_1HW.shape, generator=generator)
        return (disparity_1HW + self.deviation * noise).clamp(0, 1)


@dataclass(eq=False)
class Sequential(Perturbation):
    """Several perturbations, one after the other.

    Args:
        perturbations: In order of application.

    Examples:
        >>> str(Sequential([RandomMasking(), GaussianNoise()]))
        'random masking, probability 0.3, then gaussian noise, deviation 1.0'
    """

    perturbations: Sequence[Perturbation]

    def __call__(self, disparity_1HW: Tensor, generator: torch.Generator) -> Tensor:
        """See :meth:`Perturbation.__call__`."""
        for perturbation in self.perturbations:
            disparity_1HW = perturbation(disparity_1HW, generator)
        return disparity_1HW

    def __str__(self) -> str:
        """The perturbations' words, in order."""
        return ", then ".join(map(str, self.perturbations))


class OneOf(Perturbation):
    """One of several perturbations at most.

    Args:
        perturbations: To choose from.
        shares: Probability of each; with what is left of 1 the map stays as it is.

    Raises:
        ValueError: If there is not one share for each, or they are no shares of 1.

    Examples:
        >>> str(OneOf([DepthDropout(1.0), GaussianNoise(0.1)], shares=[0.4, 0.1]))
        '40% depth dropout, probability 1.0 or 10% gaussian noise, deviation 0.1'
    """

    def __init__(self, perturbations: Sequence[Perturbation], shares: Sequence[float]) -> None:
        if len(perturbations) != len(shares) or min(shares) < 0 or sum(shares) > 1 + 1e-6:
            raise ValueError(f"{len(perturbations)} perturbations need as many shares of 1, got {list(shares)}")
        self.perturbations = tuple(perturbations)
        self.shares = tuple(shares)

    def __call__(self, disparity_1HW: Tensor, generator: torch.Generator) -> Tensor:
        """See :meth:`Perturbation.__call__`."""
        drawn = float(torch.rand((), generator=generator))
        for perturbation, share in zip(self.perturbations, self.shares, strict=True):
            drawn -= share
            if drawn < 0:
                return perturbation(disparity_1HW, generator)
        return disparity_1HW.clone()

    def __str__(self) -> str:
        """Shares and the perturbations' words."""
        return " or ".join(f"{share:.0%} {one}" for one, share in zip(self.perturbations, self.shares, strict=True))


def _check_probability(value: float) -> float:
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"probability must lie in [0, 1], got {value}")
    return value
