from __future__ import annotations

import warnings
from itertools import islice
from pathlib import Path

import lightning
import pytest
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.cli import LightningCLI

from diffcam.data import (
    DepthDropout,
    EqualThenLinear,
    GridPairing,
    RandomRectangle,
    RefocusBatch,
    RefocusDataModule,
    Sequential,
    StoredPairing,
    write_shard,
)
from diffcam.errors import DiffcamError


class Recorder(lightning.LightningModule):
    """Writes down the sample indices it is trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.trained: list[list[int]] = []
        self.scenes: list[str] = []

    def training_step(self, batch: RefocusBatch, batch_idx: int) -> torch.Tensor:
        self.trained.append(batch.index.tolist())
        self.scenes += batch.scenes
        return self.weight * batch.reference.mean()

    def validation_step(self, batch: RefocusBatch, batch_idx: int) -> None: ...

    def test_step(self, batch: RefocusBatch, batch_idx: int) -> None:
        self.scenes += batch.scenes

    def predict_step(self, batch: RefocusBatch, batch_idx: int) -> torch.Tensor:
        return batch.index

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


class StopAt(Callback):
    """Fails in the middle of a step, as a killed process does."""

    def __init__(self, batch: int) -> None:
        self.batch = batch

    def on_before_backward(self, trainer: lightning.Trainer, *_: object) -> None:
        if trainer.fit_loop.epoch_loop.total_batch_idx == self.batch:
            raise RuntimeError("pulled the plug")


def make_trainer(*callbacks: Callback, **options) -> lightning.Trainer:
    warnings.filterwarnings("ignore", module="lightning")
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    return lightning.Trainer(**(quiet | {"enable_checkpointing": bool(callbacks)} | options), callbacks=list(callbacks))


def make_data(shards: str, **options) -> RefocusDataModule:
    return RefocusDataModule(**({"train": [shards], "resolution": 8, "batch_size": 3, "num_workers": 0} | options))


def fit(data: RefocusDataModule, checkpoint: Path | None = None, *callbacks: Callback, **options) -> Recorder:
    module = Recorder()
    make_trainer(*callbacks, **options).fit(module, data, ckpt_path=checkpoint)
    return module


BATCHES = [list(range(3 * n, 3 * n + 3)) for n in range(20)]


@pytest.mark.parametrize(
    "options",
    [
        {"max_steps": 8},
        {"max_epochs": 4, "samples": 6},
        {"max_steps": 8, "samples": 9, "val": True},
        {"max_steps": 4, "accumulate_grad_batches": 2, "samples": 12},
        {"max_epochs": 4, "limit_train_batches": 2},
    ],
    ids=str,
)
def test_every_checkpoint_resumes_exactly(mixed_shards: str, tmp_path: Path, options: dict) -> None:
    """Whatever ends an epoch: steps, epochs, validation, accumulation or a limit."""
    options = dict(options)
    fields = {"samples_per_epoch": options.pop("samples", None), "val": [mixed_shards] if options.pop("val", 0) else []}
    save = ModelCheckpoint(tmp_path, "{step}", save_top_k=-1, every_n_train_steps=1, save_on_train_epoch_end=False)
    whole = fit(make_data(mixed_shards, **fields), None, save, **options)
    assert whole.trained == BATCHES[:8]
    accumulated = options.get("accumulate_grad_batches", 1)
    for checkpoint in sorted(tmp_path.glob("*.ckpt")):
        step = int(checkpoint.stem.removeprefix("step="))
        resumed = fit(make_data(mixed_shards, **fields), checkpoint, **options)
        assert resumed.trained == BATCHES[step * accumulated : 8]


def test_a_run_that_fails_in_a_step_repeats_that_step_alone(mixed_shards: str, tmp_path: Path) -> None:
    saved = ModelCheckpoint(tmp_path, save_last=True, every_n_train_steps=1)
    with pytest.raises(RuntimeError, match="pulled the plug"):
        fit(make_data(mixed_shards), None, saved, StopAt(4), max_steps=8)
    resumed = fit(make_data(mixed_shards), tmp_path / "last.ckpt", max_steps=8)
    assert resumed.trained == BATCHES[4:8]


def test_an_epoch_of_one_kind_shows_each_scene_once(make_scene, tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [make_scene(str(n)) for n in range(9)])
    module = fit(make_data(str(tmp_path / "a.tar")), max_epochs=2)
    assert len(module.scenes) == 18
    assert len(set(module.scenes[:9])) == len(set(module.scenes[9:])) == 9
    assert module.scenes[:9] != module.scenes[9:]


def test_scenes_beyond_the_last_whole_batch_come_in_the_next_epoch(make_scene, tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [make_scene(str(n)) for n in range(5)])
    module = fit(make_data(str(tmp_path / "a.tar"), batch_size=2), max_epochs=5)
    assert module.trained == [[2 * n, 2 * n + 1] for n in range(10)]
    assert all(len(set(module.scenes[start : start + 5])) == 5 for start in range(0, 20, 5))


def test_training_batches_are_stacking_pairs(mixed_shards: str) -> None:
    data = make_data(mixed_shards, resolution=(8, 12))
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch.targets.shape == (3, 2, 3, 8, 12)
    assert batch.cameras.bokeh.shape == (3, 2)
    assert batch.all_in_focus is None
    assert len(data.train_dataloader()) == 18 // 3


def test_the_ramp_counts_optimizer_steps(mixed_shards: str) -> None:
    data = make_data(mixed_shards, mixture=EqualThenLinear(equal_until=1, linear_to=3), batch_size=4)
    data.trainer = make_trainer(accumulate_grad_batches=2)
    data.setup("fit")
    ai = {entry.name for entry in data._train_entries if entry.kind == "ai"}
    share = [sum(scene in ai for scene in batch.scenes) for batch in islice(data.train_dataloader(), 12)]
    assert share[6:] == [4] * 6  # step 3 starts with batch 6
    assert share[:4] != [4] * 4


def test_validation_and_test_batches(make_scene, mixed_shards: str, tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [make_scene(key, variants=2, samples=True) for key in "xy"])
    data = make_data(
        mixed_shards, val=[mixed_shards], test=[str(tmp_path / "a.tar")], resolution=16, eval_batch_size=4,
        test_perturbation=DepthDropout(1.0), val_samples_per_scene=2,
    )  # fmt: skip
    data.setup("validate")
    batches = list(data.val_dataloader())
    assert sum(len(batch) for batch in batches) == 36
    assert batches[0].targets.shape == (4, 1, 3, 16, 16)
    assert batches[0].all_in_focus.shape == (4, 3, 16, 16)
    data.setup("test")
    batch, rest = data.test_dataloader()
    assert (batch.index.tolist(), rest.index.tolist()) == ([0, 1, 2, 3], [4, 5])
    assert batch.subtasks == ("refocus", "add_bokeh", "remove_bokeh", "refocus")
    assert (batch.disparity == 0).all()
    assert (batch.exact_disparity > 0).any()
    module = Recorder()
    make_trainer().test(module, data, verbose=False)
    assert module.scenes == ["a/x"] * 3 + ["a/y"] * 3
    assert torch.cat(make_trainer().predict(module, data)).tolist() == [0, 1, 2, 3, 4, 5]


def test_without_validation_shards_there_is_no_validation(mixed_shards: str) -> None:
    data = make_data(mixed_shards)
    data.setup("fit")
    assert data.val_dataloader() == []


def test_precomputed_variants_need_only_another_pairing(make_scene, tmp_path: Path) -> None:
    write_shard(tmp_path / "a.tar", [make_scene(str(n), variants=6) for n in range(3)], image_format="png")
    data = make_data(str(tmp_path / "a.tar"), pairing=StoredPairing(eta=0.3))
    data.setup("fit")
    for batch in islice(data.train_dataloader(), 4):
        stored = batch.cameras.bokeh > 0
        greys = (batch.targets.mean(dim=(2, 3, 4)) * 255).round()
        assert torch.equal(greys[stored], batch.cameras.bokeh[stored])


def test_the_fields_can_be_written_as_yaml(mixed_shards: str, tmp_path: Path) -> None:
    path = tmp_path / "data.yaml"
    path.write_text(f"""
data:
  class_path: diffcam.data.RefocusDataModule
  init_args:
    train: ["{mixed_shards}"]
    resolution: [48, 64]
    pairing:
      class_path: diffcam.data.GridPairing
      init_args: {{levels: 10, eta: 0.05}}
    perturbation:
      class_path: diffcam.data.Sequential
      init_args:
        perturbations:
          - class_path: diffcam.data.DepthDropout
          - class_path: diffcam.data.RandomRectangle
            init_args: {{largest: 0.5}}
    mixture:
      class_path: diffcam.data.EqualThenLinear
      init_args: {{final: photo}}
    renderer:
      class_path: diffcam.data.BokehRenderer
      init_args: {{gamma: 2.2}}
""")
    data = LightningCLI(
        Recorder, lightning.LightningDataModule, subclass_mode_data=True, run=False, args=["--config", str(path)]
    ).datamodule
    assert isinstance(data, RefocusDataModule)
    assert data.resolution == (48, 64)
    assert isinstance(data.pairing, GridPairing)
    assert (data.pairing.levels, data.pairing.eta) == (10, 0.05)
    assert isinstance(data.perturbation, Sequential)
    assert [type(p) for p in data.perturbation.perturbations] == [DepthDropout, RandomRectangle]
    assert (data.mixture.final, data.renderer.gamma) == ("photo", 2.2)
    assert data.test_perturbation is None


def test_mistakes_are_told_in_a_line(mixed_shards: str) -> None:
    with pytest.raises(DiffcamError, match=r"set data\.train"):
        RefocusDataModule().setup("fit")
    with pytest.raises(DiffcamError, match=r"set data\.val"):
        make_data(mixed_shards).setup("validate")
    with pytest.raises(DiffcamError, match=r"set data\.test"):
        make_data(mixed_shards).setup("predict")
    with pytest.raises(DiffcamError, match="overfit_batches"):
        fit(make_data(mixed_shards), overfit_batches=1, max_steps=2)
    for field in ("resolution", "batch_size", "eval_batch_size", "samples_per_epoch", "val_samples_per_scene"):
        with pytest.raises(ValueError, match="at least 1"):
            make_data(mixed_shards, **{field: 0})
    with pytest.raises(ValueError, match="max_damaged_share"):
        make_data(mixed_shards, max_damaged_share=1.5)


def test_buckets_shape_whole_batches(mixed_shards: str) -> None:
    """Reference, targets and disparity of a batch have one shape, and shapes take turns."""
    data = make_data(mixed_shards, buckets=[(8, 8), (8, 12), (12, 8)])
    data.setup("fit")
    shapes = set()
    for batch in islice(data.train_dataloader(), 20):
        size = batch.reference.shape[-2:]
        assert batch.targets.shape[-2:] == batch.disparity.shape[-2:] == size
        shapes.add(tuple(size))
    assert shapes == {(8, 8), (8, 12), (12, 8)}
    assert data.largest == (8, 12)


def test_a_global_batch_is_accumulated(mixed_shards: str) -> None:
    data = make_data(mixed_shards, global_batch=6, samples_per_epoch=12)
    trainer = make_trainer(max_steps=2, val_check_interval=None)
    trainer.fit(Recorder(), data)
    assert trainer.accumulate_grad_batches == 2
    assert len(trainer.model.trained) == 4
    with pytest.raises(DiffcamError, match="multiple of batch_size times processes, 3"):
        make_trainer(max_steps=2).fit(Recorder(), make_data(mixed_shards, global_batch=7))
