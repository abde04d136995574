"""DefocusTask: trains a network that tells how much each place of a photo is blurred, and by which lens."""

from __future__ import annotations

from typing import Any

import lightning
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torch.nn import functional as F

from diffcam.functional.lens_fit import DISPARITIES, RADII, interpolation, lens_radii
from diffcam.models.defocus import CELL, DefocusNet
from diffcam.simulation.lens_pairs import LensPair
from diffcam.tasks.optimization import scheduled
from diffcam.tasks.run_folder import run_folder

CONTRAST, LEAST_WEIGHT = 0.05, 0.1
"""Standard deviation of the sharp picture in a cell from which its blur counts in full; what the flattest count."""

TARGET_WIDTH = 0.05
"""Error of a lens, in logarithms of 1 + radius, at which it is aimed at with 1/e of the best one's share."""

LENS_WEIGHT = 0.3
"""Of what concerns the lens, beside the cells' radii."""

AIM_SHARE = 0.1
"""Weight of the divergence from that aim, beside the expected error."""


class DefocusTask(lightning.LightningModule):
    """Learns the blur radius of cells, and the lens where a map is given, as in every other step.

    Args:
        network: What is trained.
        optimizer: From named parameters to an optimizer.
        scheduler: From an optimizer to a learning rate schedule, stepped after every update; None: constant.
    """

    def __init__(
        self,
        network: DefocusNet,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        scheduler: LRSchedulerCallable | None = None,
    ) -> None:
        super().__init__()
        self.network = network.train().to(memory_format=torch.channels_last)
        self.optimizer = optimizer
        self.scheduler = scheduler

    def configure_optimizers(self) -> Any:
        """The injected optimizer and schedule."""
        return scheduled(self.optimizer(list(self.network.named_parameters())), self.scheduler)

    def training_step(self, batch: LensPair, batch_idx: int) -> Tensor:
        """Cross-entropy of the cells' radii; with a map, the expected error of the lens."""
        found = self.network(batch.photo, batch.disparity if batch_idx % 2 == 0 else None)
        radius_B1hw = batch.radius[..., CELL // 2 :: CELL, CELL // 2 :: CELL]
        target_BhwK = interpolation(radius_B1hw[:, 0].abs(), torch.tensor(RADII, device=self.device))
        grey_B1HW = batch.sharp.mean(1, keepdim=True)
        variance_B1hw = F.avg_pool2d(grey_B1HW.square(), CELL) - F.avg_pool2d(grey_B1HW, CELL).square()
        weight_Bhw = (variance_B1hw[:, 0].clamp_min(0).sqrt() / CONTRAST).clamp(LEAST_WEIGHT, 1)
        entropy_Bhw = -(target_BhwK * found.logits.log_softmax(1).permute(0, 2, 3, 1)).sum(-1)
        loss = (weight_Bhw * entropy_Bhw).sum() / weight_Bhw.sum()
        self.log("train/radius", loss.detach(), prog_bar=True)
        if found.lenses is not None:
            error_BN = self._lens_errors(
                radius_B1hw, F.interpolate(batch.disparity, radius_B1hw.shape[-2:], mode="area")
            )
            aim_BN = (-error_BN / TARGET_WIDTH).softmax(1)
            expected = (found.lenses.exp() * error_BN).sum(1).mean()
            divergence = -(aim_BN * found.lenses).sum(1).mean()
            self.log_dict({"train/lens": expected.detach(), "train/aim": divergence.detach()}, prog_bar=True)
            loss = loss + LENS_WEIGHT * (expected + AIM_SHARE * divergence)
        return loss

    @staticmethod
    def _lens_errors(radius_B1hw: Tensor, disparity_B1hw: Tensor) -> Tensor:
        """Mean error of every lens of the grid, ``(B, N)``, in logarithms of 1 + radius, with their signs."""
        knots_D = torch.linspace(0, 1, DISPARITIES, device=radius_B1hw.device)
        place_BnD = interpolation(disparity_B1hw.flatten(1), knots_D)
        count_BD = place_BnD.sum(1)
        true_BD = torch.einsum("bn,bnd->bd", _compressed(radius_B1hw.flatten(1)), place_BnD) / count_BD.clamp_min(1e-6)
        says_ND = _compressed(lens_radii(radius_B1hw.device))
        wrong_BND = (says_ND - true_BD[:, None]).abs()
        return (wrong_BND * (count_BD / place_BnD.shape[1])[:, None]).sum(-1)

    def on_fit_end(self) -> None:
        """Write what was learned."""
        folder = run_folder(self.trainer) / "defocus"
        if self.trainer.is_global_zero:
            self.network.save_pretrained(folder)
            rank_zero_info(f"exported the network to {folder}")


def _compressed(radius: Tensor) -> Tensor:
    return radius.sign() * radius.abs().log1p()
