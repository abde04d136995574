"""The data module: shards in, batches for training, validation and test out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import lightning

from diffcam.data.batch import collate
from diffcam.data.evaluation import BenchmarkDataset, ValidationDataset
from diffcam.data.filing import Filing
from diffcam.data.loader import SampleLoader, StreamLoader, worker_options
from diffcam.data.mixture import EqualThenLinear, Mixture
from diffcam.data.order import SampleOrder
from diffcam.data.pairing import GridPairing, Pairing
from diffcam.data.perturbation import DepthDropout, Perturbation
from diffcam.data.reader import read_index
from diffcam.data.rendering import BokehRenderer
from diffcam.data.shards import SceneEntry
from diffcam.data.training import TrainingDataset
from diffcam.data.window import Buckets, RandomWindow
from diffcam.errors import DiffcamError


class RefocusDataModule(lightning.LightningDataModule):
    """Training pairs, validation pairs and benchmark samples from shards of scenes.

    Training never ends on its own: an epoch is a length for progress bars and validation, and the scenes go on where
    the last one stopped. Resuming needs nothing but the trainer's own count of batches.

    Args:
        train: Shards to train on, as brace patterns (``train-{000..012}.tar``) or globs (``train-*.tar``), relative to
            the working directory; ``packaged:train-*.tar`` names shards that come with the package.
        val: Held-out shards for validation; empty: none.
        test: Shards with benchmark samples for ``test`` and ``predict``; empty: none.
        resolution: Side of the square that the model sees, or its height and width, in pixels.
        buckets: Heights and widths that training takes turns with, one a batch, in place of the resolution: scenes are
            cut to each in turn. Photos are solved at a short side, so shapes of one short side go together; sides are
            multiples of the codec's token. Empty: the resolution alone.
        batch_size: Samples a batch of one process; in training each has two targets.
        global_batch: Samples an optimizer step, over all processes: gradients are accumulated until it has seen them,
            and the trainer's ``val_check_interval`` counts steps. None: as many as the processes take at once.
        eval_batch_size: The batch size of validation, test and predict.
        num_workers: Loading processes; 0 loads in the training process.
        seed: Of the order of scenes and of all draws.
        pairing: Draws reference and targets; None: the paper's grid, rendered while training (``GridPairing``).
            ``StoredPairing`` takes precomputed variants.
        renderer: Renders what is not stored; None: gamma 4, no highlights.
        perturbation: Of the disparity in training; None: the paper's dropout of half the maps (``DepthDropout``).
        filing: Noise and compression of the reference in training; None, as in the paper: neither.
        mixture: Probability of each kind over the steps; None: the paper's, equal to step 1000, linear to AI scenes
            alone at 2500 (``EqualThenLinear``). Has no effect on scenes of a single kind.
        test_perturbation: Of the disparity in test and predict (table 6); None: exact.
        zoom: Largest random magnification of training scenes, at least 1.
        flip: Whether half of the training scenes are mirrored left to right.
        piece: Side of a square piece that training shows of each picture, with the picture's bokeh levels: many pieces
            of large pictures cost what a few pictures do. None: whole pictures.
        samples_per_epoch: Training samples, over all processes, that are called an epoch; None: the number of scenes.
        val_samples_per_scene: Validation pairs of each scene.
        shuffle_shards: Scenes of this many shards are mixed with each other; lower it where seeking is slow.
        max_damaged_share: Share of the scenes that may be damaged before the run stops.
        start_method: How worker processes start, see :func:`diffcam.data.loader.worker_options`.

    Raises:
        ValueError: If a number is outside its range.

    Examples:
        >>> shards = ["data_shards/heldout-stereo-*.tar"]
        >>> data = RefocusDataModule(test=shards, resolution=64, eval_batch_size=2, num_workers=0)
        >>> data.setup("test")
        >>> batch = next(iter(data.test_dataloader()))
        >>> batch.reference.shape, batch.subtasks
        (torch.Size([2, 3, 64, 64]), ('refocus', 'refocus'))
    """

    def __init__(
        self,
        train: Sequence[str] = (),
        val: Sequence[str] = (),
        test: Sequence[str] = (),
        resolution: int | tuple[int, int] = 512,
        buckets: Sequence[tuple[int, int]] = (),
        batch_size: int = 8,
        global_batch: int | None = None,
        eval_batch_size: int = 8,
        num_workers: int = 2,
        seed: int = 0,
        pairing: Pairing | None = None,
        renderer: BokehRenderer | None = None,
        perturbation: Perturbation | None = None,
        filing: Filing | None = None,
        mixture: Mixture | None = None,
        test_perturbation: Perturbation | None = None,
        zoom: float = 1.0,
        flip: bool = True,
        piece: int | None = None,
        samples_per_epoch: int | None = None,
        val_samples_per_scene: int = 1,
        shuffle_shards: int = 16,
        max_damaged_share: float = 0.1,
        start_method: str = "forkserver",
    ) -> None:
        super().__init__()
        height, width = (resolution, resolution) if isinstance(resolution, int) else resolution
        for name, number in {
            "height": height, "width": width, "batch_size": batch_size, "eval_batch_size": eval_batch_size,
            "samples_per_epoch": samples_per_epoch, "global_batch": global_batch,
            "val_samples_per_scene": val_samples_per_scene, "shuffle_shards": shuffle_shards,
        }.items():  # fmt: skip
            if number is not None and number < 1:
                raise ValueError(f"{name} must be at least 1, got {number}")
        if num_workers < 0:
            raise ValueError(f"num_workers must not be negative, got {num_workers}")
        if not 0.0 <= max_damaged_share <= 1.0:
            raise ValueError(f"max_damaged_share must lie in [0, 1], got {max_damaged_share}")
        self.train, self.val, self.test = list(train), list(val), list(test)
        self.resolution = (height, width)
        self.batch_size = batch_size
        self.global_batch = global_batch
        self.eval_batch_size = eval_batch_size
        self.seed = seed
        self.pairing = pairing or GridPairing()
        self.renderer = renderer or BokehRenderer()
        self.perturbation = perturbation or DepthDropout()
        self.filing = filing
        self.mixture = mixture or EqualThenLinear()
        self.test_perturbation = test_perturbation
        self.buckets = [(tall, wide) for tall, wide in buckets] or [self.resolution]
        self.windows = [RandomWindow(shape, zoom, flip, piece) for shape in self.buckets]
        self.piece = None if piece is None else (piece, piece)
        self.samples_per_epoch = samples_per_epoch
        self.val_samples_per_scene = val_samples_per_scene
        self.shuffle_shards = shuffle_shards
        self.max_damaged_share = max_damaged_share
        self.worker_options = worker_options(num_workers, start_method)
        self._train_entries: list[SceneEntry] = []
        self._val_entries: list[SceneEntry] = []
        self._test_entries: list[SceneEntry] = []

    @property
    def largest(self) -> tuple[int, int]:
        """Height and width of the largest training images, or of a piece of them."""
        return self.piece or max(self.buckets, key=lambda shape: shape[0] * shape[1])

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Heights and widths of all images that it gives."""
        return [self.resolution, *self.buckets, *([self.piece] if self.piece else [])]

    def setup(self, stage: str) -> None:
        """Index the shards that a stage needs.

        Raises:
            DiffcamError: If there are none, or too much of them is damaged.
        """
        if stage == "fit":
            self._train_entries = self._read(self.train, "train")
            self._accumulate()
        if stage in ("fit", "validate") and (self.val or stage == "validate"):
            self._val_entries = self._read(self.val, "val")
        if stage in ("test", "predict"):
            self._test_entries = self._read(self.test, "test")

    def train_dataloader(self) -> StreamLoader:
        """Endless batches with two targets, from where the trainer stands."""
        trainer: Any = self.trainer
        rank, world_size, accumulated = 0, 1, 1
        if trainer is not None:
            if trainer.overfit_batches > 0:
                raise DiffcamError("overfit_batches does not apply to an endless loader: name fewer train shards")
            rank, world_size = trainer.global_rank, trainer.world_size
            accumulated = trainer.accumulate_grad_batches
        batch = self.batch_size * world_size
        order = SampleOrder(self._train_entries, self.seed, self.mixture, batch * accumulated, self.shuffle_shards)
        dataset = TrainingDataset(
            order,
            Buckets(self.windows, batch, self.seed),
            self.pairing,
            self.renderer,
            self.perturbation,
            self.filing,
            self.seed,
            self.max_damaged_share,
        )
        length = max(1, (self.samples_per_epoch or len(order)) // batch)
        return StreamLoader(
            dataset, self.batch_size, length, self._position, order.identity(), rank, world_size, self.worker_options
        )

    def val_dataloader(self) -> SampleLoader | list[SampleLoader]:
        """Batches with one target, the same in every run; an empty list without validation shards."""
        if not self._val_entries:
            return []
        dataset = ValidationDataset(
            self._val_entries, self.resolution, self.pairing, self.renderer, self.seed, self.val_samples_per_scene
        )
        return self._evaluation_loader(dataset)

    def test_dataloader(self) -> SampleLoader:
        """The benchmark samples of the test shards, in order."""
        return self._evaluation_loader(
            BenchmarkDataset(self._test_entries, self.resolution, self.renderer, self.test_perturbation, self.seed)
        )

    def predict_dataloader(self) -> SampleLoader:
        """The same as :meth:`test_dataloader`."""
        return self.test_dataloader()

    def _accumulate(self) -> None:
        """Let the trainer accumulate batches up to the global one, before it plans its loops."""
        trainer: Any = self.trainer
        if trainer is None or self.global_batch is None:
            return
        at_once, epoch = self.batch_size * trainer.world_size, self.samples_per_epoch or self.global_batch
        if self.global_batch % at_once or epoch % self.global_batch:
            raise DiffcamError(
                f"data.global_batch = {self.global_batch} must be a multiple of batch_size times processes, {at_once}, "
                f"and divide samples_per_epoch, {epoch}: else some steps would see fewer samples"
            )
        # Public attributes, set as Lightning's own GradientAccumulationScheduler does: how many processes there are is
        # not known when the config is read.
        trainer.accumulate_grad_batches = self.global_batch // at_once
        if isinstance(trainer.val_check_interval, int):
            trainer.val_check_interval *= trainer.accumulate_grad_batches

    def _read(self, patterns: list[str], field: str) -> list[SceneEntry]:
        if not patterns:
            raise DiffcamError(f"no shards given: set data.{field} to a list of shard patterns")
        return read_index(patterns, self.max_damaged_share)

    def _evaluation_loader(self, dataset: ValidationDataset | BenchmarkDataset) -> SampleLoader:
        # By name: Lightning puts samplers of its own in their place.
        return SampleLoader(dataset, batch_size=self.eval_batch_size, collate_fn=collate, **self.worker_options)

    def _position(self) -> int:
        """Batches trained on. The count is restored with the loops, before they ask for a loader.

        ``processed`` is the count that a batch enters after its backward pass and before the hooks in which
        checkpoints are saved: one that is saved while a batch is in flight repeats it, one saved after goes on.
        """
        if self.trainer is None:
            return 0
        progress: Any = self.trainer.fit_loop.epoch_loop.batch_progress.total
        return int(progress.processed)
