"""What every metric of the tables has in common: one number a sample, and how a scene's numbers are summed up."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from diffcam.errors import DiffcamError


class MissingWeightsError(DiffcamError):
    """The weights of a metric's network cannot be had; the tables print this message in place of the number."""


class SampleMetric(ABC):
    """A metric that is one number a sample; a table's number is their mean, unless ``scene_totals`` says otherwise.

    :class:`diffcam.metrics.Scores` keeps the numbers of all samples and processes. A number that is NaN says that the
    metric is not defined on the sample (no textured region, say), which does not count then.

    Subclasses implement :meth:`score` and set the class attributes:

    - ``column``: name of the score in rows; ``label``: name of the summary in tables and logs;
    - ``higher_is_better``, ``digits``: direction and decimals in tables;
    - ``inputs``: the properties of :class:`diffcam.metrics.scores.Comparison` that ``score`` takes, in order;
    - ``subtasks``: where the metric says something, None for everywhere;
    - ``note``: what a reader of the table must know, for example the backbone.
    """

    column: ClassVar[str]
    label: ClassVar[str]
    higher_is_better: ClassVar[bool]
    digits: ClassVar[int] = 3
    inputs: ClassVar[tuple[str, ...]] = ("prediction", "target")
    subtasks: ClassVar[tuple[str, ...] | None] = None
    note: ClassVar[str] = ""

    @property
    def name(self) -> str:
        """The label as logs spell it: ``clip_i`` for CLIP-I."""
        return self.label.lower().replace("-", "_").replace(" ", "_")

    def prepare(self) -> None:
        """Load what the metric needs, once; most need nothing.

        Raises:
            MissingWeightsError: If the weights of the metric's network cannot be had.
        """

    @abstractmethod
    def score(self, *inputs: Any) -> Tensor:
        """One number a sample, ``(B,)``, from what ``inputs`` names."""

    def scene_totals(self, scores: np.ndarray, levels: np.ndarray) -> tuple[float, float]:
        """Sum and weight of one scene's scores: a table's number is the ratio of both, summed over scenes.

        Args:
            scores: ``(n,)`` scores of the scene's samples.
            levels: ``(n,)`` bokeh levels that were asked for.
        """
        defined = scores[~np.isnan(scores)]
        return float(defined.sum()), float(len(defined))
