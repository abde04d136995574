"""The task: losses by hand, shared noise, learning, starting weights and checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import lightning
import pytest
import torch

from diffcam.callbacks import EMA, ModelExport, SampleGrid
from diffcam.data import BokehRenderer, DepthDropout, GridPairing, RefocusBatch, RefocusDataModule
from diffcam.errors import DiffcamError
from diffcam.functional.blur_stack import detail_difference
from diffcam.functional.stacking import stack_masks
from diffcam.models import FullTraining, embedded_model
from diffcam.models.adapters import trained_parameters
from diffcam.tasks import RefocusTask

SHARDS = Path(__file__).parents[2] / "data_shards"


def _task(width: int = 1, blocks: int = 1, short_side: int = 64, **options: Any) -> RefocusTask:
    model = embedded_model(width=32 * width, layers=blocks, single_layers=blocks, shift=4.0, short_side=short_side)
    optimizer = options.pop("optimizer", lambda parameters: torch.optim.AdamW(parameters, lr=2e-3))
    return RefocusTask(model, FullTraining(), optimizer=optimizer, **options)


def _data(**options: Any) -> RefocusDataModule:
    settings: dict[str, Any] = {"resolution": 64, "batch_size": 2, "num_workers": 0, "eval_batch_size": 2, **options}
    return RefocusDataModule(train=[str(SHARDS / "train-*.tar")], val=[str(SHARDS / "val-photo-*.tar")], **settings)


def _batch(**options: Any) -> RefocusBatch:
    data = _data(**options)
    data.setup("fit")
    return next(iter(data.train_dataloader()))


def _trainer(folder: Path, **options: Any) -> lightning.Trainer:
    return lightning.Trainer(
        accelerator="cpu", default_root_dir=folder, logger=False, enable_progress_bar=False, enable_model_summary=False,
        num_sanity_val_steps=0, **options,
    )  # fmt: skip


def test_losses_are_those_of_the_paper() -> None:
    """Eq. 1 and 5 once more, from the model's velocities and nothing else of the task."""
    task, batch = _task(), _batch()
    torch.nn.init.normal_(task.model.transformer.base.proj_out.weight, std=0.02)
    losses = task.losses(batch)
    recorded: dict[str, torch.Tensor] = {}
    original = task.model.velocity_of

    def record(output: torch.Tensor, noisy: torch.Tensor, timestep: torch.Tensor, *rest: Any) -> torch.Tensor:
        recorded.update(noisy=noisy, timestep=timestep)
        recorded["velocity"] = original(output, noisy, timestep, *rest)
        return recorded["velocity"]

    task.model.velocity_of = record  # type: ignore[method-assign]
    task.losses(batch)
    clean = 2 * batch.targets.flatten(0, 1) ** 1.8 - 1
    timestep = recorded["timestep"].reshape(-1, 1, 1, 1)
    noise = (recorded["noisy"] - (1 - timestep) * clean) / timestep
    errors = ((noise - clean) - recorded["velocity"]).unflatten(0, (2, 2))
    assert losses.flow.item() == pytest.approx(errors.square().mean().item(), rel=1e-3)
    mask = stack_masks(batch.targets.unbind(1))[0]
    expected = (mask * errors[:, 0] + (1 - mask) * errors[:, 1]).square().mean()
    assert losses.stacking.item() == pytest.approx(expected.item(), rel=1e-3)
    copied = ((recorded["noisy"] - 2 * batch.reference.repeat_interleave(2, 0) ** 1.8 + 1) / timestep) - (noise - clean)
    assert losses.copy_flow.item() == pytest.approx(copied.square().mean().item(), rel=1e-3)


def test_both_branches_share_noise_and_timestep(monkeypatch: pytest.MonkeyPatch) -> None:
    """From what reaches the model, I^t = (1 - t) I + t noise is solved for the noise of each branch."""
    task, batch = _task(), _batch()
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    original = task.model.predict
    monkeypatch.setattr(
        task.model, "predict", lambda noisy, t, *rest: seen.append((noisy, t)) or original(noisy, t, *rest)
    )
    task.losses(batch)
    noisy, timestep = (part.unflatten(0, (2, 2)) for part in seen[0])
    assert torch.equal(timestep[:, 0], timestep[:, 1])
    clean = 2 * batch.targets**1.8 - 1
    t = timestep.reshape(2, 2, 1, 1, 1)
    noise = (noisy - (1 - t) * clean) / t
    torch.testing.assert_close(noise[:, 0], noise[:, 1], atol=1e-3, rtol=1e-3)
    assert not torch.allclose(noise[0, 0], noise[1, 0], atol=0.1), "samples must not share noise"


def test_noise_depends_on_seed_and_sample_alone() -> None:
    batch = _batch()
    first, again, other = _task().losses(batch), _task().losses(batch), _task(seed=1).losses(batch)
    assert first.flow.item() == again.flow.item()
    assert first.copy_flow.item() != other.copy_flow.item()


def test_fit_learns_and_leaves_pictures_checkpoints_and_an_export(tmp_path: Path) -> None:
    task = _task()
    grid, export = SampleGrid(rows=2, folder=str(tmp_path / "grid")), ModelExport(str(tmp_path / "export"))
    trainer = _trainer(
        tmp_path, max_steps=2, limit_val_batches=1, val_check_interval=2, callbacks=[EMA(), grid, export]
    )
    trainer.fit(task, _data())
    assert (tmp_path / "grid" / "step-000002.png").is_file()

    trainer.save_checkpoint(tmp_path / "run.ckpt")
    saved = torch.load(tmp_path / "run.ckpt", weights_only=True)["state_dict"]
    assert set(saved) == set(trained_parameters(task))
    fresh = _task(weights=str(tmp_path / "run.ckpt"))
    for name, value in trained_parameters(fresh).items():
        assert torch.equal(value, saved[name]), name
    exported = _task(weights=str(tmp_path / "export"))
    average = trainer.callbacks[0].average  # type: ignore[attr-defined]
    for name, value in trained_parameters(exported).items():
        torch.testing.assert_close(value, average[name], rtol=1e-2, atol=1e-2, msg=name)  # stored in bfloat16


def test_a_resumed_trainer_repeats_the_uninterrupted_one(tmp_path: Path) -> None:
    def run(steps: int, resume: Path | None = None) -> RefocusTask:
        task = _task()
        trainer = _trainer(tmp_path, max_steps=steps, limit_val_batches=0, callbacks=[EMA()])
        trainer.fit(task, _data(), ckpt_path=resume, weights_only=False if resume else None)
        trainer.save_checkpoint(tmp_path / f"{steps}.ckpt")
        return task

    whole = run(4)
    run(2)
    resumed = run(4, tmp_path / "2.ckpt")
    for name, value in trained_parameters(whole).items():
        assert torch.equal(value, trained_parameters(resumed)[name]), name


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    task = _task()
    state = {name: value.detach() for name, value in trained_parameters(task).items()}
    name = "model.transformer.base.proj_out.bias"
    for wrong, message in (
        ({**state, "foreign": torch.zeros(1)}, "foreign"),
        ({key: value for key, value in state.items() if key != name}, "lacks .*proj_out.bias"),
        ({**state, name: torch.zeros(3)}, r"proj_out.bias is \(3,\)"),
    ):
        torch.save({"state_dict": wrong}, tmp_path / "wrong.ckpt")
        with pytest.raises(DiffcamError, match=message):
            _task(weights=str(tmp_path / "wrong.ckpt"))
    (tmp_path / "text.ckpt").write_text("no checkpoint")
    with pytest.raises(DiffcamError, match=r"text\.ckpt: not a checkpoint"):
        _task(weights=str(tmp_path / "text.ckpt"))
    with pytest.raises(DiffcamError, match="no such packaged model"):
        _task(weights="diffcam-huge")


def test_a_resolution_that_the_model_is_not_made_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DiffcamError, match="a short side of 64 pixels, the model's short_side is 128") as error:
        _trainer(tmp_path, max_steps=1, limit_val_batches=0).fit(_task(short_side=128), _data())
    assert "\n" not in str(error.value)


def test_validation_uses_the_average(tmp_path: Path) -> None:
    class Probe(lightning.Callback):
        def on_validation_batch_start(self, trainer: Any, pl_module: Any, *args: Any) -> None:
            self.seen = pl_module.model.transformer.base.proj_out.bias.detach().clone()

    task, probe, ema = _task(), Probe(), EMA(decay=0.5)
    _trainer(tmp_path, max_steps=3, limit_val_batches=1, val_check_interval=3, callbacks=[ema, probe]).fit(
        task, _data()
    )
    name = "model.transformer.base.proj_out.bias"
    assert torch.equal(probe.seen, ema.average[name])
    assert not torch.equal(trained_parameters(task)[name], ema.average[name])


def test_relative_losses_are_shares_of_what_a_zero_output_leaves() -> None:
    """Both branches of a sample are divided alike; an output of zeros itself so comes to nearly 1."""
    batch = _batch(perturbation=DepthDropout(1.0))
    absolute, relative = (_task(floor=floor).losses(batch) for floor in (None, 1e-9))
    assert relative.flow.item() == pytest.approx(1, abs=1e-3)
    assert absolute.flow.item() < 0.5
    task = _task(floor=0.01)
    torch.nn.init.normal_(task.model.transformer.base.proj_out.weight, std=0.02)
    recorded = []
    original = task.model.velocity_of
    task.model.velocity_of = lambda *inputs: recorded.append((inputs, original(*inputs))) or recorded[-1][1]  # type: ignore[method-assign,func-returns-value]
    losses = task.losses(batch)
    (output, noisy, timestep, photo, cameras), predicted = recorded[0]
    start = original(torch.zeros_like(output), noisy, timestep, photo, cameras)
    clean = 2 * batch.targets.flatten(0, 1) ** 1.8 - 1
    target = (noisy - clean) / timestep.view(-1, 1, 1, 1)
    left = (start - target).square().mean((1, 2, 3)).view(2, 2).mean(1)
    expected = ((predicted - target).square().mean((1, 2, 3)).view(2, 2) / (left + 0.01)[:, None]).mean()
    assert losses.flow.item() == pytest.approx(expected.item(), rel=1e-2)


def test_detail_is_that_of_the_predicted_clean_latents() -> None:
    batch = _batch()
    task, absent = _task(detail_weight=0.5), _task()
    recorded = []
    original = task.model.velocity_of
    task.model.velocity_of = lambda *inputs: recorded.append((inputs, original(*inputs))) or recorded[-1][1]  # type: ignore[method-assign,func-returns-value]
    losses = task.losses(batch)
    (_, noisy, timestep, *_), predicted = recorded[0]
    clean = 2 * batch.targets.flatten(0, 1) ** 1.8 - 1
    expected = detail_difference(noisy - timestep.view(-1, 1, 1, 1) * predicted, clean)
    assert losses.detail.item() == pytest.approx(expected.item(), rel=1e-3)
    assert absent.losses(batch).detail == 0
    weighted = task.training_step(batch, 0) - task.losses(batch).flow - 0.1 * task.losses(batch).stacking
    assert weighted.item() == pytest.approx(0.5 * expected.item(), rel=1e-2)


@pytest.mark.slow
def test_four_scenes_are_learned_by_heart() -> None:
    """At 128 pixels with fixed noise: flow loss a quarter of the copy predictor's, samples 6 dB better than copying."""
    batch = _batch(
        resolution=128, batch_size=4, pairing=GridPairing(original_references=1.0), perturbation=DepthDropout(0.0),
        renderer=BokehRenderer(gamma=2.2),
    )  # fmt: skip
    task = _task(width=4, blocks=2, short_side=128)
    optimizer = torch.optim.AdamW(task.parameters(), lr=2e-3, betas=(0.9, 0.99))
    for step in range(200):
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * min(1.0, (step + 1) / 50) * min(1.0, (200 - step) / 70)
        losses = task.losses(batch)
        optimizer.zero_grad()
        losses.flow.backward()
        torch.nn.utils.clip_grad_norm_(task.parameters(), 1.0)
        optimizer.step()
    final = task.losses(batch)
    assert final.flow < final.copy_flow / 4
    clean = task.model.codec.encode(batch.targets[:, 0])
    _, noise = task.draw_noise(clean, task._generator("train", batch, 0))
    cameras = batch.cameras[:, 0]
    latents = task.model.sample(cameras, task.model.encode_photo(batch.reference, batch.disparity), noise, steps=2)
    error = (task.model.decode(latents) - batch.targets[:, 0]).square().mean()
    copied = (batch.reference - batch.targets[:, 0]).square().mean()
    assert 10 * torch.log10(copied / error) > 6
