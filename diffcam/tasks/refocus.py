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
from diffcam.functional.flow import interpolate, logit_normal_timesteps, per_sample, velocity, velocity_from_clean
from diffcam.functional.stacking import stack_masks
from diffcam.models.adapters import FullTraining, Training, trained_parameters
from diffcam.models.checkpoint import DEFAULT_STEPS
from diffcam.models.refocus import RefocusModel
from diffcam.models.sharding import shard
from diffcam.tasks.optimization import scheduled
from diffcam.tasks.stacking import StackingConstraint
from diffcam.tasks.weights import check_trained_keys, load_weights


@dataclass(frozen=True)
class Losses:
    """The training loss of one batch, and its parts.

    Args:
        total: What is trained on: paper eq. 6, and the detail.
        flow: Paper eq. 1, the mean over all branches.
        stacking: Paper eq. 5.
        detail: :func:`~diffcam.functional.blur_stack.detail_difference` of the predicted clean latents.
        copy_flow: Flow loss of the predictor that copies the reference, ``v = (I^t - I_r) / t``: the mark to beat.
    """

    total: Tensor
    flow: Tensor
    stacking: Tensor
    detail: Tensor
    copy_flow: Tensor


class RefocusTask(lightning.LightningModule):
    """Trains and runs a refocusing model.

    Args:
        model: The network.
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
        steps: Sampling steps in validation and test; an exported model names them as those it was made for.
        weights: Weights to start from: a packaged name (``diffcam-tiny``), an exported folder or a checkpoint of an
            earlier run (whose step count and optimizer are not taken over; ``--ckpt_path`` resumes those).
        seed: Of noise and timesteps.

    Raises:
        ValueError: If a number is out of range.
        DiffcamError: If the weights cannot be had or do not fit.

    Examples:
        >>> task = RefocusTask(diffcam.models.embedded_model(width=32, short_side=64), stacking_weight=0.1)
        >>> data = diffcam.data.RefocusDataModule(val=["data_shards/val-ai-*.tar"], resolution=64, num_workers=0)
        >>> errors = lightning.Trainer(logger=False, enable_progress_bar=False).validate(task, data, verbose=False)[0]
        >>> errors["val/mae"] < errors["val/mae_copy"]  # untrained, it is a lens model, which beats copying the photo
        True
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
        steps: int = DEFAULT_STEPS,
        weights: str | None = None,
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
        self.seed = seed
        (training or FullTraining()).prepare(model.transformer)
        if weights is not None:
            load_weights(self, weights)

    def setup(self, stage: str) -> None:
        """Compare the images' sizes with the model's.

        Raises:
            DiffcamError: If tokens do not divide them, or their short side is another than the model's.
        """
        data = self.trainer.datamodule  # type: ignore[attr-defined]
        if data is None:
            return
        self.check_sizes(data.sizes)
        if min(data.resolution) != self.model.short_side:
            raise DiffcamError(
                f"data.resolution has a short side of {min(data.resolution)} pixels, the model's short_side is "
                f"{self.model.short_side}: set both to the same, or bokeh levels would mean another blur"
            )

    def check_sizes(self, sizes: Iterable[tuple[int, int]]) -> None:
        """Refuse heights and widths that tokens do not divide, with a DiffcamError."""
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

    def training_step(self, batch: RefocusBatch, batch_idx: int) -> Tensor:
        """Paper eq. 6, and the detail."""
        losses = self.losses(batch)
        logged = {
            "train/loss": losses.total,
            "train/flow": losses.flow,
            "train/stacking": losses.stacking,
            "train/detail": losses.detail,
            "train/copy": losses.copy_flow,
        }
        self.log_dict({name: value.detach() for name, value in logged.items()}, batch_size=len(batch), prog_bar=True)
        return losses.total

    def losses(self, batch: RefocusBatch) -> Losses:
        """All losses of a batch, from one pass over all branches."""
        # Encode: the pictures to predict, and what they are predicted from.
        samples, branches = batch.targets.shape[:2]
        clean = self.model.codec.encode(batch.targets.flatten(0, 1))
        photo = self.model.encode_photo(batch.reference, batch.disparity)
        cameras = self.model.encode_cameras(batch.cameras.flatten(), photo)

        # Noise: the branches of a sample share it and their timestep, as the stacking constraint demands.
        timestep_B, noise = self.draw_noise(clean[::branches], self._generator("train", batch, 0))
        timestep_B, noise = (drawn.repeat_interleave(branches, 0) for drawn in (timestep_B, noise))
        noisy, target = interpolate(clean, noise, timestep_B), velocity(clean, noise)

        # Predict: the velocity, and the one of the predictor that copies the reference.
        output = self.model.predict(noisy, timestep_B, photo, cameras)
        predicted = self.model.velocity_of(output, noisy, timestep_B, photo, cameras)
        copied = velocity_from_clean(noisy, photo.latent.repeat_interleave(branches, 0), timestep_B)

        # Losses: the detail of the clean latents, and flow and stacking, relative to what an output of zeros leaves.
        zero = predicted.new_zeros(())
        detail = zero
        if self.detail_weight:
            detail = detail_difference(noisy - per_sample(timestep_B, noisy) * predicted, clean)
        if self.floor is not None:
            with torch.no_grad():
                start = self.model.velocity_of(torch.zeros_like(output), noisy, timestep_B, photo, cameras)
            left = (start - target).square().mean((1, 2, 3)).unflatten(0, (samples, branches)).mean(1)
            scale = per_sample((left + self.floor).rsqrt().repeat_interleave(branches), noisy)
            predicted, copied, target = predicted * scale, copied * scale, target * scale
        flow, copy_flow = ((one - target).float().square().mean() for one in (predicted, copied))
        stacking = zero
        if branches > 1:
            masks = stack_masks(batch.targets.unbind(1))
            target_n, predicted_n = (v.unflatten(0, (samples, branches)).transpose(0, 1) for v in (target, predicted))
            stacking = self.stacking(masks, target_n.float(), predicted_n)
        total = flow + self.stacking_weight * stacking + self.detail_weight * detail
        return Losses(total, flow, stacking, detail, copy_flow)

    def draw_noise(self, latent_BCHW: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A timestep ``(B,)`` and unit noise like the latent for every sample, on the latent's device."""
        timestep_B = logit_normal_timesteps(
            len(latent_BCHW), generator, self.timestep_mean, self.timestep_std, self.model.shift
        )
        noise = torch.randn(latent_BCHW.shape, generator=generator, device=generator.device)
        return timestep_B.to(latent_BCHW.device), noise.to(latent_BCHW)

    def generate(self, batch: RefocusBatch) -> Tensor:
        """One refocused image a sample, ``(B, 3, H, W)``; noise depends on the seed and the sample's number alone."""
        photo = self.model.encode_photo(batch.reference, batch.disparity)
        generators = [self._generator("sample", batch, number) for number in range(len(batch))]
        noise = torch.cat([self.model.noise(photo, 1, generator) for generator in generators])
        return self.model.decode(self.model.sample(batch.cameras[:, 0], photo, noise, self.steps))

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

    def _generator(self, purpose: str, batch: RefocusBatch, number: int) -> torch.Generator:
        """Random numbers of a sample of a batch: a pure function of seed, purpose and its global number."""
        seed = derived_generator(purpose, self.seed, int(batch.index[number])).initial_seed()
        return torch.Generator(batch.index.device).manual_seed(seed)
