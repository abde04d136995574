"""What every metric of the tables has in common: one number a sample, and how a scene's numbers are summed up."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from diffcam.errors import DiffcamError


class MissingWeightsError(DiffcamError):
    """The weights of a metric's network cannot be had; the tables print this message in place of the number."""


class SampleMetric(Metric):
    """A metric that is one number a sample; its value is the mean over samples.

    The state is a sum and a count in float64, both summed over processes. A sample whose score is NaN is one
    on which the metric is not defined (no textured region, say) and does not count.

    Subclasses implement :meth:`score` and set the class attributes:

    - ``column``: name of the score in rows; ``label``: name of the summary in tables and logs;
    - ``higher_is_better``, ``digits``: direction and decimals in tables;
    - ``inputs``: the fields of :class:`diffcam.metrics.Comparison` that ``score`` takes, in order;
    - ``subtasks``: where the metric says something, None for everywhere;
    - ``note``: what a reader of the table must know, for example the backbone.
    """

    column: ClassVar[str]
    label: ClassVar[str]
    digits: ClassVar[int] = 3
    inputs: ClassVar[tuple[str, ...]] = ("prediction", "target")
    subtasks: ClassVar[tuple[str, ...] | None] = None
    note: ClassVar[str] = ""

    is_differentiable = False
    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    @property
    def name(self) -> str:
        """The label as logs spell it: ``clip_i`` for CLIP-I."""
        return self.label.lower().replace("-", "_").replace(" ", "_")

    def prepare(self) -> None:
        """Load what the metric needs, once; most need nothing.

        Raises:
            MissingWeightsError: If the weights of the metric's network cannot be had.
        """

    def score(self, *inputs: Any) -> Tensor:
        """One number a sample, ``(B,)``, from the fields named in ``inputs``."""
        raise NotImplementedError

    def update(self, *inputs: Any) -> None:
        """Take in a batch: the arguments of :meth:`score`."""
        scores = self.score(*inputs).double()
        defined = ~scores.isnan()
        self.total = self.total + scores[defined].sum()
        self.count = self.count + defined.sum()

    def compute(self) -> Tensor:
        """Mean over all samples seen by all processes; NaN if there was none."""
        return (self.total / self.count).float()

    def scene_totals(self, scores: np.ndarray, levels: np.ndarray) -> tuple[float, float]:
        """Sum and weight of one scene's scores: a table's number is the ratio of both, summed over scenes.

        Args:
            scores: ``(n,)`` scores of the scene's samples.
            levels: ``(n,)`` bokeh levels that were asked for.
        """
        defined = scores[~np.isnan(scores)]
        return float(defined.sum()), float(len(defined))
