"""Renditions by BokehMe's networks, loaded where they are first needed, in every worker once."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

if TYPE_CHECKING:  # importing the models takes seconds, which workers that need none would wait for
    from diffcam.pretrained.bokehme import BokehMe


@dataclass(frozen=True)
class NeuralRenderer:
    """The released networks of a folder, as a renderer that can be sent to a worker.

    Args:
        folder: Holds ``arnet.pth`` and ``iunet.pth``.
    """

    folder: Path

    def __call__(
        self, image: Tensor, disparity: Tensor, focus_disparity: Tensor, bokeh: Tensor, gamma: float
    ) -> Tensor:
        """See :class:`diffcam.pretrained.bokehme.BokehMe`.

        Raises:
            DiffcamError: If a file is missing or is not of the release.
        """
        return self.load(image.device.type)(image, disparity, focus_disparity, bokeh, gamma)

    def load(self, device: str = "cpu") -> BokehMe:
        """The networks, from the files the first time.

        Raises:
            DiffcamError: If a file is missing or is not of the release.
        """
        return _load(self.folder, device)

    def describe(self) -> str:
        """Hash of the weights, for the manifest."""
        digest = hashlib.sha256()
        for name, value in self.load().state_dict().items():
            digest.update(name.encode() + value.cpu().numpy().tobytes())
        return digest.hexdigest()


@cache
def _load(folder: Path, device: str) -> BokehMe:
    from diffcam.pretrained.bokehme import BokehMe

    return BokehMe.from_pretrained(folder).to(device)
