"""DefocusTask: trains what tells how blurred a photo is where."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from diffcam.data.batch import RefocusBatch
from diffcam.functional.defocus_fit import fit_lens, log_likelihoods, of_radius, radius_at, shares_of_radii
from diffcam.models.restoration import CELL
from diffcam.tasks.restoration import RestorationTask

SHARES_DECAY = 0.99
"""Decay of the running mean of the shares of radii, from one batch to the next: a hundred batches count."""

RADIUS_OFFSET = 0.25
"""Added to radii, in pixels, before logarithms of them are compared: less blur than this is hardly seen."""


class DefocusTask(RestorationTask):
    """Learns the blur radius of every cell, and so the lens, from pictures whose cameras are known: all targets.

    Pictures are pieces of whole ones with a 512-pixel short side, so that levels are radii in pixels. Arguments are
    those of :class:`RestorationTask`.
    """

    trains_stopping = False

    def radius(self, batch: RefocusBatch) -> Tensor:
        """True mean blur radius of each cell of each target, pixels, ``(B * branches, 1, h, w)``."""
        disparity_B1HW = batch.disparity.repeat_interleave(batch.targets.shape[1], 0)
        return F.avg_pool2d(batch.cameras.flatten().defocus(disparity_B1HW).abs(), CELL)

    def losses(self, batch: RefocusBatch, radius_B1hw: Tensor) -> tuple[Tensor, Tensor]:
        """Of each cell by itself, and of the lens that all of them point to.

        Returns:
            Cross-entropy of each cell's true radius (one between two known ones is shared out between them), and how
            far the radii of the fitted lens are off: mean absolute difference of ``log(radius + RADIUS_OFFSET)``.
        """
        pictures_B3HW = (batch.targets.flatten(0, 1) * 255).round() / 255  # what a file shows of them
        disparity_B1hw = F.avg_pool2d(batch.disparity.repeat_interleave(batch.targets.shape[1], 0), CELL)
        removal = self.restoration
        logits_BKhw = removal.logits(pictures_B3HW)
        cells = -of_radius(logits_BKhw.log_softmax(dim=1), radius_B1hw, removal.radii).mean()
        curve_BD = fit_lens(log_likelihoods(logits_BKhw, removal.shares), disparity_B1hw, removal.radii)
        found_B1hw = radius_at(curve_BD, disparity_B1hw)
        lens = ((found_B1hw + RADIUS_OFFSET).log() - (radius_B1hw + RADIUS_OFFSET).log()).abs().mean()
        return cells, lens

    def training_step(self, batch: RefocusBatch, batch_idx: int) -> Tensor:
        """The loss of a batch, whose radii are counted."""
        radius_B1hw = self.radius(batch)
        shares_K = shares_of_radii(radius_B1hw, self.restoration.radii)
        self.restoration.shares.lerp_(shares_K, 1 - SHARES_DECAY)
        cells, lens = self.losses(batch, radius_B1hw)
        logged = {"train/loss": (cells + lens).detach(), "train/lens": lens.detach()}
        self.log_dict(logged, batch_size=len(batch), prog_bar=True)
        return cells + lens

    def validation_step(self, batch: RefocusBatch, batch_idx: int) -> None:
        """The losses of held-out samples."""
        cells, lens = self.losses(batch, self.radius(batch))
        logged = {"val/loss": cells + lens, "val/lens": lens}
        self.log_dict(logged, batch_size=len(batch), prog_bar=True, sync_dist=True)
