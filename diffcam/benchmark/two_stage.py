"""Deblurring without depth, alone and as the first of two stages (paper, table 2 and appendix F)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from diffcam.benchmark.deblurring import EDGE_QUANTILE, Restoration, RichardsonLucy, deconvolve, edge_radii
from diffcam.benchmark.methods import Method, NotAvailableError, render_target
from diffcam.data.batch import RefocusSample
from diffcam.data.rendering import BokehRenderer
from diffcam.errors import first_line
from diffcam.files import files_sha256
from diffcam.functional.bokeh import PAPER_GAMMA


class Deblur(ABC):
    """A deblurring method: from a blurred picture to a sharp one."""

    note: str = ""
    without_effect: tuple[str, ...] = ("note", "device")
    """Public attributes that no output depends on."""

    def fingerprint(self) -> str:
        """Hash of the files that outputs depend on; "" if there are none."""
        return ""

    def prepare(self) -> None:
        """Load what is needed.

        Raises:
            NotAvailableError: If it cannot be had.
        """

    @abstractmethod
    def __call__(self, image_3HW: Tensor) -> Tensor:
        """Sharp picture of the same size, display values in [0, 1]."""


class SingleKernel(Deblur):
    """Deconvolution of the whole picture by one disc, whose radius is a quantile of those measured at its edges.

    Args:
        restoration: Deconvolution; None: Richardson-Lucy.
        gamma: Light is ``image ** gamma``.
    """

    note = "Richardson-Lucy, one kernel a picture"

    def __init__(self, restoration: Restoration | None = None, gamma: float = PAPER_GAMMA) -> None:
        self.restoration = restoration or RichardsonLucy()
        self.gamma = gamma

    def __call__(self, image_3HW: Tensor) -> Tensor:
        """See :class:`Deblur`."""
        _, found = edge_radii(image_3HW, self.gamma)
        radius = float(np.quantile(found, EDGE_QUANTILE)) if len(found) else 0.0
        radii = np.full(image_3HW.shape[1:], round(radius, 1))
        return deconvolve(image_3HW, radii, self.restoration, self.gamma)


class Restormer(Deblur):
    """Restormer (Zamir et al. 2022) through spandrel, which recognises the network by its weights.

    Any image-to-image restoration network that spandrel knows can stand in its place.

    Args:
        weights: State dict, ``.pth`` or ``.safetensors``.
        device: Where it runs.
    """

    def __init__(self, weights: Path, device: str = "cpu") -> None:
        self.weights = Path(weights)
        self.device = device
        self.note = f"Restormer weights {self.weights.name}"
        self._network: Any = None

    def fingerprint(self) -> str:
        """Hash of the weights."""
        return files_sha256([self.weights])

    def prepare(self) -> None:
        """Load the network, which needs spandrel."""
        if self._network is not None:
            return
        try:
            import spandrel
            import spandrel_extra_arches
        except ImportError as error:
            raise NotAvailableError("Restormer needs spandrel: pip install 'diffcam[baselines]'") from error
        if not self.weights.is_file():
            raise NotAvailableError(f"there is no Restormer weights file {self.weights}")
        spandrel_extra_arches.install(ignore_duplicates=True)
        try:
            safe = self.weights.suffix == ".safetensors"  # nothing in the other kind is run either
            state = load_file(self.weights) if safe else torch.load(self.weights, "cpu", weights_only=True)
            network = spandrel.ModelLoader(self.device).load_from_state_dict(state)
        except Exception as error:  # whatever a foreign file makes the loaders raise
            told = f"{self.weights}: no restoration network that spandrel knows ({first_line(error)})"
            raise NotAvailableError(told) from error
        if not isinstance(network, spandrel.ImageModelDescriptor) or network.scale != 1:
            raise NotAvailableError(f"{self.weights}: {network.architecture.name} does not keep a picture's size")
        self._network = network.eval()

    @torch.no_grad()
    def __call__(self, image_3HW: Tensor) -> Tensor:
        """See :class:`Deblur`."""
        result: Tensor = self._network(image_3HW[None].to(self.device))
        return result[0].clamp(0, 1).cpu()


class DeblurOnly(Method):
    """A deblurring method, on the sub-task that it is made for.

    Args:
        deblur: The method.
    """

    def __init__(self, deblur: Deblur) -> None:
        self.deblur = deblur
        self.note = deblur.note

    def fingerprint(self) -> str:
        """The deblurring method's."""
        return self.deblur.fingerprint()

    def prepare(self, folder: Path) -> None:
        """Load the deblurring method."""
        self.deblur.prepare()

    def selects(self, number: int, subtask: str) -> bool:
        """Remove bokeh alone."""
        return subtask == "remove_bokeh"

    def __call__(self, sample: RefocusSample) -> Tensor:
        """The reference without its blur."""
        return self.deblur(sample.reference)


class TwoStage(DeblurOnly):
    """Deblur first, then render the target's bokeh with the disparity map.

    Args:
        deblur: First stage.
        renderer: Second stage; None: that of the paper's data.
    """

    def __init__(self, deblur: Deblur, renderer: BokehRenderer | None = None) -> None:
        super().__init__(deblur)
        self.renderer = renderer or BokehRenderer()
        self.note = f"two stages: {deblur.note}, then the renderer"

    def selects(self, number: int, subtask: str) -> bool:
        """All samples."""
        return True

    def __call__(self, sample: RefocusSample) -> Tensor:
        """The deblurred reference with the asked blur."""
        return render_target(self.renderer, self.deblur(sample.reference), sample)
