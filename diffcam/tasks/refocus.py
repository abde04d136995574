"""RefocusTask: flow loss, stacking constraint and detail, validation and benchmark outputs (paper, eq. 1 to 6)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import lightning
import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor

from diffcam.data.batch import RefocusBatch
from diffcam.data.randomness import derived_generator
from diffcam.errors import DiffcamError
from diffcam.functional.blur_stack import detail_difference
from diffcam.functional.flow import interpolate, logit_normal_timesteps, velocity, velocity_from_clean
from diffcam.functional.stacking import stack_masks
from diffcam.models.adapters import FullTraining, Training, trained_parameters
from diffcam.models.refocus import RefocusModel
from diffcam.models.sharding import shard
from diffcam.tasks.optimization import scheduled
from diffcam.tasks.stacking import StackingConstraint
from diffcam.tasks.weights import check_trained_keys, load_weights


@dataclass(frozen=True)
class Losses:
    """Parts of the training loss of one batch.

    Args:
        flow: Paper eq. 1, the mean over all branches.
        stacking: Paper eq. 5.
        detail: :func:`~diffcam.functional.blur_stack.detail_difference` of the predicted clean latents.
        copy_flow: Flow loss of the predictor that copies the reference, ``v = (I^t - I_r) / t``: the mark to beat.
    """

    flow: Tensor
    stacking: Tensor
    detail: Tensor
    copy_flow: Tensor


class RefocusTask(lightning.LightningModule):
    """Trains and runs a refocusing model.

    Args:
        model: Codec, transformer and output parametrisation.
        training: What is trained and how it starts; default: every weight, from a fresh draw.
        optimizer: From named parameters to an optimizer.
        scheduler: From an optimizer to a learning rate schedule, stepped after every update; None: constant.
        stacking_weight: The lambda of paper eq. 6; 0 turns the constraint off.
        stacking: The constraint; None: the paper's (eq. 5).
        detail_weight: Of how differently sharp the predicted pictures are, place by place; for latents that are
            pixels. 0, as in the paper: not looked at.
        floor: Count each sample's losses relative to the flow loss that an output of zeros would leave plus this, so
            that what a good start leaves to learn is learned, too; None: absolute, as in the paper.
        timestep_mean: Mean of the logit-normal timesteps before the shift.
        timestep_std: Their standard deviation.
        steps: Sampling steps in validation and test.
        weights: Weights to start from: a packaged name (``diffcam-tiny``), an exported folder or a checkpoint of an
            earlier run (whose step count and optimizer are not taken over; ``--ckpt_path`` resumes those).
        trained_size: Short side in pixels that the exported model solves photos at; None: the training resolution.
        seed: Of noise and timesteps.

    Raises:
        ValueError: If a number is out of range.
        DiffcamError: If the weights cannot be had or do not fit.
    """

    strict_loading = False  # checkpoints hold what is trained; on_load_checkpoint asserts that this is all there

    def __init__(
        self,
        model: RefocusModel,
        training: Training | None = None,
        optimizer: OptimizerCallable = torch.optim.AdamW,
        scheduler: LRSchedulerCallable | None = None,
        stacking_weight: float = 0.1,
        stacking: StackingConstraint | None = None,
        detail_weight: float = 0.0,
        floor: float | None = None,
        timestep_mean: float = 0.0,
        timestep_std: float = 1.0,
        steps: int = 8,
        weights: str | None = None,
        trained_size: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if steps < 1 or min(timestep_std, stacking_weight, detail_weight) < 0:
            raise ValueError(
                "steps must be at least 1, timestep_std, stacking_weight and detail_weight not negative; got "
                f"{steps}, {timestep_std}, {stacking_weight} and {detail_weight}"
            )
        if floor is not None and not floor > 0:
            raise ValueError(f"floor must be positive, got {floor}")
        self.model = model
        self.optimizer = optimizer
        self.scheduler = scheduler
        self.stacking_weight = stacking_weight
        self.stacking = stacking or StackingConstraint()
        self.detail_weight = detail_weight
        self.floor = floor
        self.timestep_mean = timestep_mean
        self.timestep_std = timestep_std
        self.steps = steps
        self.trained_size = trained_size
        self.seed = seed
        (training or FullTraining()).prepare(model.transformer)
        if weights is not None:
            load_weights(self, weights)

    def setup(self, stage: str) -> None:
        """Compare the images' sizes with the tokens', and tell the model what a bokeh level is in pixels.

        Raises:
            DiffcamError: If one is no multiple of the other.
        """
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if data is not None:
            self.check_sizes(data.sizes)
            self.model.solve_at(min(data.resolution))

    def check_sizes(self, sizes: Iterable[tuple[int, int]]) -> None:
        """Refuse heights and widths that tokens do not divide.

        Raises:
            DiffcamError: If there is one.
        """
        side = self.model.token_pixels
        for height, width in sizes:
            if height % side or width % side:
                raise DiffcamError(f"images of {height}x{width}: both must be multiples of {side}, the side of a token")

    def configure_model(self) -> None:
        """Spread the transformer over devices where the strategy has a mesh of them (:class:`ShardedStrategy`)."""
        if self.device_mesh is not None and not self.model.transformer.sharded:
            shard(self.model.transformer, self.device_mesh["data_parallel"])

    def configure_optimizers(self) -> Any:
        """The injected optimizer over the trained weights, and the injected schedule.

        Raises:
            DiffcamError: If the trained weights are no longer float32: half precision rounds small steps away.
        """
        half = next((n for n, weight in trained_parameters(self).items() if weight.dtype != torch.float32), None)
        if half is not None:
            raise DiffcamError(f"{half} is not float32: leave trainer.precision at 32-true, the base has its own dtype")
        return scheduled(self.optimizer(list(trained_parameters(self).items())), self.scheduler)

    def losses(self, batch: RefocusBatch) -> Losses:
        """Both losses from one pass over all branches.

        The K targets of a sample share its noise and its timestep, as the stacking constraint demands.
        """
        samples, branches = batch.targets.shape[:2]
        targets_B3HW = batch.targets.flatten(0, 1)
        clean = self.model.codec.encode(targets_B3HW)
        generator = self._generator("train", int(batch.index[0]))
        timestep_B, noise = self.draw_noise(clean[::branches], generator)
        timestep_B, noise = (drawn.repeat_interleave(branches, 0) for drawn in (timestep_B, noise))
        noisy, target = interpolate(clean, noise, timestep_B), velocity(clean, noise)

        conditions = self.model.conditions(batch.reference, batch.disparity)
        cameras = batch.cameras.flatten()
        asked = self.model.asked(cameras, conditions)
        predicted = self.model.velocity(noisy, timestep_B, cameras, conditions, asked)
        reference = conditions.latent.repeat_interleave(branches, 0)
        copied = velocity_from_clean(noisy, reference, timestep_B)
        detail = torch.zeros((), device=self.device)
        if self.detail_weight:
            detail = detail_difference(noisy - timestep_B.view(-1, 1, 1, 1) * predicted, clean)
        if self.floor is not None:
            start = self.model.starting_velocity(noisy, timestep_B, conditions, asked)
            scale = relative_scale(start - target, branches, self.floor)
            predicted, copied, target = predicted * scale, copied * scale, target * scale

        masks = stack_masks(batch.targets.unbind(1)) if branches > 1 else None
        stacking = torch.zeros((), device=self.device)
        if masks is not None:
            target_n, predicted_n = (v.unflatten(0, (samples, branches)).transpose(0, 1) for v in (target, predicted))
            stacking = self.stacking(masks, target_n.float(), predicted_n)
        flow = (predicted - target).square().mean()
        return Losses(flow, stacking, detail, (copied - target).float().square().mean())

    def draw_noise(self, latent_BCHW: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A timestep ``(B,)`` and unit noise like the latent for every sample, on the latent's device."""
        timestep_B = logit_normal_timesteps(
            len(latent_BCHW), generator, self.timestep_mean, self.timestep_std, self.model.shift
        )
        noise = torch.randn(latent_BCHW.shape, generator=generator, device=generator.device)
        return timestep_B.to(latent_BCHW.device), noise.to(latent_BCHW)

    def training_step(self, batch: RefocusBatch, batch_idx: int) -> Tensor:
        """Paper eq. 6, and the detail."""
        losses = self.losses(batch)
        loss = losses.flow + self.stacking_weight * losses.stacking + self.detail_weight * losses.detail
        logged = {
            "train/loss": loss,
            "train/flow": losses.flow,
            "train/stacking": losses.stacking,
            "train/detail": losses.detail,
            "train/copy": losses.copy_flow,
        }
        self.log_dict({name: value.detach() for name, value in logged.items()}, batch_size=len(batch), prog_bar=True)
        return loss

    def generate(self, batch: RefocusBatch) -> Tensor:
        """One refocused image a sample, ``(B, 3, H, W)``; noise depends on the seed and the sample's number alone."""
        conditions = self.model.conditions(batch.reference, batch.disparity)
        noise = torch.cat(
            [self.model.noise(conditions, 1, self._generator("sample", int(index))) for index in batch.index]
        )
        cameras = batch.cameras[:, 0]
        return self.model.decode(self.model.sample(cameras, conditions, noise, self.steps))

    def validation_step(self, batch: RefocusBatch, batch_idx: int) -> dict[str, Tensor]:
        """Refocused images of held-out samples, and their errors."""
        images = self.generate(batch)
        error = (images - batch.targets[:, 0]).abs().mean()
        copied = (batch.reference - batch.targets[:, 0]).abs().mean()
        self.log_dict({"val/mae": error, "val/mae_copy": copied}, batch_size=len(batch), prog_bar=True, sync_dist=True)
        return {"images": images}

    def test_step(self, batch: RefocusBatch, batch_idx: int) -> dict[str, Tensor]:
        """Refocused images of benchmark samples; the metrics callback scores them."""
        return {"images": self.generate(batch)}

    def predict_step(self, batch: RefocusBatch, batch_idx: int) -> Tensor:
        """Refocused images, ``(B, 3, H, W)``."""
        return self.generate(batch)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep what is trained: a frozen base stays where it came from."""
        trained = trained_parameters(self)
        state = checkpoint["state_dict"]  # of a sharded model, empty in all processes but the first
        checkpoint["state_dict"] = {name: state[name] for name in trained if name in state}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint that does not hold exactly the trained weights."""
        if "state_dict" in checkpoint:  # ShardedStrategy has checked it, taken it out and loaded it
            check_trained_keys(self, checkpoint["state_dict"])

    def _generator(self, purpose: str, index: int) -> torch.Generator:
        """Random numbers of a sample: a pure function of seed, purpose and the sample's global number."""
        seed = derived_generator(purpose, self.seed, index).initial_seed()
        return torch.Generator(self.device).manual_seed(seed)


def relative_scale(start_error_BCHW: Tensor, branches: int, floor: float) -> Tensor:
    """What makes errors relative to those of a start: ``(B * branches, 1, 1, 1)``.

    All branches of a sample are scaled alike: the stacking constraint adds them up.

    Args:
        start_error_BCHW: Errors that would be left without training, ``branches`` to a sample.
        branches: Targets a sample.
        floor: Added to their mean square: below it, errors count as absolute ones.
    """
    left_B = start_error_BCHW.square().mean((1, 2, 3)).unflatten(0, (-1, branches)).mean(1)
    return (left_B + floor).rsqrt().repeat_interleave(branches).view(-1, 1, 1, 1)
