"""Counts and predictions of ``diffcam plan``: against torch's own counter, sums by hand, and a CPU's allocator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from diffusers import AutoencoderKL, FluxTransformer2DModel
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from diffcam.camera import CameraBatch
from diffcam.commands.cli import run_diffcam, train
from diffcam.commands.lightning_cli import CheckedCLI
from diffcam.data.batch import RefocusBatch
from diffcam.models import LoRA, RefocusModel, RefocusTransformer, VAECodec, embedded_model
from diffcam.models.adapters import trained_parameters
from diffcam.models.conditions import PhotoConditions
from diffcam.models.flux import flux_transformer_shape
from diffcam.planning.memory import MemoryPlan, MetaStep, click_memory, optimizer_bytes, plan_memory, remembered_bytes
from diffcam.planning.operations import count, count_flops, meta_copy, peak_memory
from diffcam.tasks import Muon, RefocusTask
from tests.flux import write_flux_folder

ROOT = Path(__file__).parents[2]
WIDTH, DOUBLE, SINGLE, GRID = 128, 1, 2, (16, 16)


def _transformer(attention: str, checkpointed: int = 0, single: int = SINGLE) -> RefocusTransformer:
    torch.manual_seed(0)
    base = FluxTransformer2DModel(
        in_channels=16, num_layers=DOUBLE, num_single_layers=single, attention_head_dim=32,
        num_attention_heads=WIDTH // 32, joint_attention_dim=8, pooled_projection_dim=8, axes_dims_rope=(8, 12, 12),
    )  # fmt: skip
    transformer = RefocusTransformer(base, attention, checkpointed_blocks=checkpointed)  # type: ignore[arg-type]
    LoRA(rank=1).prepare(transformer)
    return transformer


def _loss(transformer: RefocusTransformer, device: str) -> Any:
    """A pair of cameras on one photo: 6N tokens through the blocks in full attention, 4N in cached."""
    with torch.device(device):
        noisy, reference = torch.zeros(2, 256, 16), torch.zeros(1, 256, 16)
        cameras, timestep = CameraBatch(torch.zeros(2, 2), torch.zeros(2)), torch.full((2,), 0.5)
    inputs = [noisy, reference, cameras.focus, cameras.bokeh, timestep]

    def run() -> torch.Tensor:
        photo = transformer.encode_photo_tokens(reference, reference, GRID)
        return transformer(noisy, timestep, cameras, photo).square().mean()

    return run, inputs


def _allocated(run: Callable[[], Any]) -> int:
    """Largest number of bytes that the CPU's allocator had given out at once."""
    with torch.autograd.profiler.profile(profile_memory=True, use_kineto=True) as profiler:
        run()
    live = peak = 0
    for event in profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return peak


@pytest.mark.parametrize("attention", ["full", "cached"])
def test_operations_are_those_that_torch_counts(attention: str) -> None:
    transformer = _transformer(attention)
    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), counter:  # products of whole matrices, which the counter sees
        _loss(transformer, "cpu")[0]().backward()
    counted = count_flops(_loss(meta_copy(transformer), "meta")[0])
    assert counted == counter.get_total_flops()


@pytest.mark.slow
@pytest.mark.parametrize(("attention", "tokens", "pairs"), [("full", 6, 2 * 9), ("cached", 4, 4 + 2 * 3)])
def test_a_frozen_base_costs_four_operations_a_weight_and_token(attention: str, tokens: int, pairs: int) -> None:
    """Forward and back to the tokens, not to the weights: 4 P T, and 12 a channel and pair of tokens that attend."""
    weights = DOUBLE * 12 * WIDTH**2 + SINGLE * 12 * WIDTH**2  # that a token of an image passes
    expected = 4 * weights * tokens * 256 + (DOUBLE + SINGLE) * 12 * WIDTH * pairs * 256**2
    counted = count_flops(_loss(meta_copy(_transformer(attention)), "meta")[0])
    assert counted == pytest.approx(expected, rel=0.12)


@pytest.mark.parametrize("checkpointed", [0, DOUBLE + SINGLE])
@pytest.mark.parametrize("attention", ["full", "cached"])
def test_predicted_memory_is_what_a_step_takes(attention: str, checkpointed: int) -> None:
    transformer = _transformer(attention, checkpointed)
    run, inputs = _loss(meta_twin := meta_copy(transformer), "meta")
    predicted = peak_memory(run, meta_twin, inputs)

    run, _ = _loss(transformer, "cpu")
    gradients = sum(4 * weight.numel() for weight in trained_parameters(transformer).values())
    assert predicted == pytest.approx(_allocated(lambda: run().backward()) - gradients, rel=0.1)


def test_a_further_block_keeps_its_input_or_with_offloading_nothing() -> None:
    """Two cameras, three streams of 256 tokens and one camera token each, in float32."""
    peaks = []
    for offload, single in ((False, 4), (False, 8), (True, 4), (True, 8)):
        transformer = _transformer("full", DOUBLE + single, single)
        transformer.offload = offload
        run, inputs = _loss(meta_twin := meta_copy(transformer), "meta")
        peaks.append(peak_memory(run, meta_twin, inputs))
    kept = 2 * (3 * 256 + 1) * WIDTH * 4
    assert (peaks[1] - peaks[0]) / 4 == pytest.approx(kept, rel=0.01)
    assert (peaks[3] - peaks[2]) / 4 == pytest.approx(0, abs=0.01 * kept)


def test_optimizer_state_is_counted_from_the_optimizer() -> None:
    assert optimizer_bytes(lambda weights: torch.optim.AdamW(weights)) == pytest.approx(8, rel=0.01)
    assert optimizer_bytes(lambda weights: torch.optim.SGD(weights, lr=1, momentum=0.9)) == pytest.approx(4)
    assert optimizer_bytes(Muon) == pytest.approx(8, rel=0.01), "which takes named weights"


@pytest.mark.slow
def test_true_size_by_preset() -> None:
    """FLUX.1-dev; adapters of rank 64 by hand: 64 (inputs + outputs) for each matrix."""
    width = 3072
    attention = 19 * 8 * 2 * width + 38 * 3 * 2 * width
    feed_forward = 19 * 4 * 5 * width + 38 * (5 * width + 6 * width)
    modulation = 19 * 2 * 7 * width + 38 * 4 * width
    expected = {
        ("attention",): attention,
        ("attention", "feed_forward"): attention + feed_forward,
        ("attention", "feed_forward", "modulation"): attention + feed_forward + modulation,
    }
    base = flux_transformer_shape("black-forest-labs/FLUX.1-dev")
    assert count(base.parameters()) == 11_901_408_320
    for targets, inputs_and_outputs in expected.items():
        with torch.device("meta"):
            transformer = RefocusTransformer(base)
            LoRA(64, targets=targets).prepare(transformer)  # type: ignore[arg-type]
        trained = trained_parameters(transformer)
        assert count(trained.values()) == 64 * inputs_and_outputs + 4 * width
        base.delete_adapters("default")


class _Parsed(CheckedCLI):
    """Parses the config and stops."""

    def instantiate_classes(self) -> None:
        self.model = self.datamodule = None

    def _run_subcommand(self, subcommand: str) -> None:
        pass


def _leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if hasattr(node, "items"):
        for name, value in vars(node).items():
            yield from _leaves(value, f"{path}.{name}")
    else:
        yield path, node


@pytest.mark.slow
@pytest.mark.parametrize("overlay", ["flux_24gb", "flux_80gb", "flux_8gpus", "flux_fsdp"])
def test_flux_configs_hold_the_recipe_on_every_machine(overlay: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for stage, steps, pairs, size in (("flux_512", 3600, 256, 512), ("flux_1024", 3000, 128, 1024)):
        files = ("--config", f"configs/{stage}.yaml", "--config", f"configs/overlays/{overlay}.yaml")
        config = train(["fit", *files], cli=_Parsed).config.fit
        task, data = config.model.init_args, config.data.init_args
        assert (config.trainer.max_steps, data.global_batch, data.resolution) == (steps, pairs, size)
        assert pairs % (data.batch_size * config.trainer.devices) == 0
        assert (task.training.init_args.rank, task.optimizer.init_args.lr, task.stacking_weight) == (64, 1e-4, 0.1)
        assert data.perturbation.init_args.probability == 0.5
        assert (task.scheduler, task.weights, data.piece, data.renderer, data.pairing) == (None,) * 5
        assert (task.timestep_mean, task.timestep_std, task.model.init_args.shift) == (0.0, 1.0, 1.0)
        assert task.model.init_args.transformer.init_args.rotary_theta == 10000.0
        assert task.model.class_path == "diffcam.models.RefocusModel"
        assert task.model.init_args.short_side == size
        assert set(vars(task.model.init_args)) == {"codec", "transformer", "shift", "short_side"}
        mixture = data.mixture
        if size == 512:
            assert (mixture.init_args.equal_until, mixture.init_args.linear_to) == (1000, 2500)
        else:
            assert mixture.init_args.kind == "ai"


def test_the_plan_of_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.chdir(ROOT)
    flux, model = write_flux_folder(tmp_path / "flux"), "model.init_args.model.init_args"
    paths = (f"{model}.codec.init_args.path={flux}", f"{model}.transformer.init_args.base.init_args.path={flux}")
    files = ("--config", "configs/flux_512.yaml", "--config", "tests/flux_small.yaml")
    assert run_diffcam(["plan", *files, "--clicks", *paths]) == 0
    printed = capsys.readouterr().out
    assert "131,152 parameters" in printed
    assert "4 steps on 1 a100 at 40%" in printed
    assert "opening a photo" in printed


def test_the_plan_with_latents_and_attention_cached(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Keys and values are said without being asked for."""
    monkeypatch.chdir(ROOT)
    flux, model = write_flux_folder(tmp_path / "flux"), "model.init_args.model.init_args"
    codec, transformer = f"{model}.codec.init_args", f"{model}.transformer.init_args"
    paths = (f"{codec}.codec.init_args.path={flux}", f"{transformer}.base.init_args.path={flux}")
    files = [part for name in ("configs/flux_512", "tests/flux_small", "configs/overlays/flux_latents") for part in
             ("--config", f"{name}.yaml")]  # fmt: skip
    monkeypatch.setattr("diffcam.planning.memory.remembered_bytes", lambda *_: 12_340_000_000)
    assert run_diffcam(["plan", *files, *paths, f"{transformer}.attention=cached"]) == 0
    printed = capsys.readouterr().out
    assert "keys and values a photo       12.34 GB" in printed
    assert "opening a photo" not in printed


@pytest.mark.parametrize("attention", ["full", "cached"])
def test_what_a_first_click_holds_is_what_it_takes(attention: str) -> None:
    vae = AutoencoderKL(
        latent_channels=4, norm_num_groups=4, block_out_channels=(4, 4), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
    )  # fmt: skip
    model = RefocusModel(VAECodec(vae), _transformer(attention))
    weights, predicted = click_memory(meta_copy(model), (64, 64))
    assert weights == 4 * count(model.parameters())
    image, noise = torch.zeros(1, 3, 64, 64), torch.zeros(1, 4, 32, 32)
    cameras = CameraBatch(torch.zeros(1, 2), torch.zeros(1))
    opened: list[PhotoConditions] = []

    def click() -> None:
        opened.append(model.encode_photo(image, image[:, :1]))
        model.decode(model.sample(cameras, opened[0], noise, 1))

    with torch.no_grad():
        assert predicted == pytest.approx(_allocated(click), rel=0.1)
    remembered = sum(memory.key.nbytes + memory.value.nbytes for memory in opened[0].tokens.memory or ())
    assert remembered == (remembered_bytes(model, (64, 64)) if attention == "cached" else 0)


@pytest.mark.parametrize(("name", "short"), [("flux_buckets", 512), ("flux_buckets_1024", 1024)])
def test_buckets_are_the_usual_aspects_in_whole_tokens(name: str, short: int) -> None:
    shapes = yaml.safe_load((ROOT / "configs" / "overlays" / f"{name}.yaml").read_text())["data.init_args.buckets"]
    assert all(min(shape) == short and max(shape) % 16 == 0 for shape in shapes)
    assert sorted(shapes) == sorted(shape[::-1] for shape in shapes)
    aspects = sorted({max(shape) / short for shape in shapes})
    assert aspects == pytest.approx([1, 4 / 3, 3 / 2, 16 / 9], rel=0.01)


def _trained_by(task: RefocusTask, side: int) -> tuple[int, int]:
    """Bytes that a training step of two pairs is predicted to hold, and that it takes on the CPU."""
    predicted = MetaStep(task, 2, (side, side)).peak_memory()
    generator = torch.Generator().manual_seed(0)
    targets = torch.rand(2, 2, 3, side, side, generator=generator)
    batch = RefocusBatch(
        targets[:, 0], targets, torch.rand(2, 1, side, side, generator=generator),
        CameraBatch(torch.full((2, 2, 2), 0.5), torch.full((2, 2), 8.0)), None, None,
        torch.zeros(2, dtype=torch.int64), ("s",) * 2, ("train",) * 2, ("photo",) * 2,
    )  # fmt: skip
    gradients = sum(4 * weight.numel() for weight in trained_parameters(task).values())
    return predicted, _allocated(lambda: task.training_step(batch, 0).backward()) - gradients


def test_the_plan_is_of_the_loss_that_is_trained_on() -> None:
    """Detail and floor, whose pictures are kept for the backward pass, are in the plan as they are in the step."""
    plain, whole = (
        _trained_by(RefocusTask(embedded_model(width=64, layers=1, single_layers=1, short_side=96), **options), 96)
        for options in ({}, {"detail_weight": 1.0, "floor": 1e-4})
    )
    assert whole[0] - plain[0] == pytest.approx(whole[1] - plain[1], rel=1e-3)
    assert whole[0] > 1.3 * plain[0]
    for predicted, taken in (plain, whole):
        assert predicted == pytest.approx(taken, rel=0.15)


def test_planning_leaves_the_task_as_it_is() -> None:
    task = RefocusTask(embedded_model(width=32, layers=1, single_layers=1))
    before = task.model
    step = MetaStep(task, 1, (64, 64))
    assert step.flops() > 0
    assert task.model is before
    assert not any(weight.is_meta for weight in task.parameters())


@pytest.mark.slow
def test_the_plan_of_the_embedded_model(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    """configs/tiny.yaml with its detail and floor; the size that is overridden is the model's, too."""
    monkeypatch.chdir(ROOT)
    sizes = ("data.init_args.resolution=256", "data.init_args.piece=256")
    assert run_diffcam(["plan", "--config", "configs/tiny.yaml", *sizes]) == 0
    assert "900 steps on 1 a100 at 40%" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("devices", "counted", "said"), [("auto", 1, True), ("-1", 1, True), ("2", 2, False), ("[0,1,3]", 3, False)]
)
def test_devices_whose_number_is_not_known_are_said_to_count_as_one(
    devices: str, counted: int, said: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(ROOT)
    assert run_diffcam(["plan", "--config", "tests/small.yaml", f"trainer.devices={devices}"]) == 0
    printed = capsys.readouterr().out
    assert f"steps on {counted} a100 at 40%" in printed
    assert (f"trainer.devices {devices}: counted as one a node; name their number" in printed) == said


@pytest.mark.parametrize(
    ("callback", "strategy", "known"),
    [
        (
            "diffcam.callbacks.ema.EMA",
            {"class_path": "diffcam.tasks.ShardedStrategy", "init_args": {"devices": 2}},
            (True, 2),
        ),
        ("diffcam.callbacks.SampleGrid", "auto", (False, 1)),
    ],
)
def test_classes_are_known_by_what_they_are(
    callback: str, strategy: object, known: tuple[bool, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not by how their path is spelled; what is no class, such as the name of a strategy, is none of them."""
    monkeypatch.chdir(ROOT)
    config = tmp_path / "machine.yaml"
    trainer = {"callbacks": [{"class_path": callback}], "strategy": strategy, "devices": 2}
    config.write_text(yaml.safe_dump({"trainer": trainer}))
    asked = []

    def plan(task: RefocusTask, activations: int, averaged: bool, quantization: str | None, shards: int) -> MemoryPlan:
        asked.append((averaged, shards))
        return plan_memory(task, activations, averaged, quantization, shards)

    monkeypatch.setattr("diffcam.planning.memory.plan_memory", plan)
    assert run_diffcam(["plan", "--config", "tests/small.yaml", "--config", str(config)]) == 0
    assert asked == [known]
