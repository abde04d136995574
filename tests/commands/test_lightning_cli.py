"""What cannot be run is said in one line: keys, values, classes and checkpoints."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
import yaml

from diffcam.commands.cli import CONFIGS, lightning_main, train
from diffcam.commands.lightning_cli import CheckedCLI, complaint
from diffcam.errors import DiffcamError

ROOT = Path(__file__).parents[2]
TASK = "model: {class_path: diffcam.tasks.RefocusTask, init_args: "
MODEL = "{model: {class_path: diffcam.models.embedded_model, init_args: {attention: chached}}}"


class Parsed(CheckedCLI):
    """Reads the command line and its configs, and stops."""

    def instantiate_classes(self) -> None:
        self.model = self.datamodule = None

    def _run_subcommand(self, subcommand: str) -> None:
        pass


def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The line that ``lightning`` ends with, which is all that it prints."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["__main__.py", *arguments])
    with pytest.raises(SystemExit) as stopped:
        lightning_main()
    assert stopped.value.code == 2
    printed = capsys.readouterr()
    (line,) = (printed.out + printed.err).splitlines()
    assert len(line) < 250
    return line


@pytest.mark.parametrize(
    ("config", "line"),
    [
        (f"{TASK}{{stacking_wieght: 0.1}}}}", "config model: Option 'stacking_wieght' is not accepted"),
        (f"{TASK}{{steps: many}}}}", "config model.steps: Expected a <class 'int'>. Got value: many"),
        (
            f"{TASK}{MODEL}}}",
            "config model.model.attention: Expected a typing.Literal['full', 'cached']. Got value: chached",
        ),
        (
            f"{TASK}{{optimizer: {{class_path: diffcam.tasks.Muon, init_args: {{lrr: 1}}}}}}}}",
            "config model.optimizer: Option 'lrr' is not accepted",
        ),
        ("data: {init_args: {batchsize: 4}}", "config data: Option 'batchsize' is not accepted"),
        (
            "data: {class_path: diffcam.data.RefocusDataModule, init_args: {perturbation: {class_path: "
            "diffcam.data.GridPairing}}}",
            "config data.perturbation: Import path diffcam.data.GridPairing does not correspond to a subclass of "
            "Perturbation",
        ),
        (
            "trainer: {callbacks: [{class_path: diffcam.callbacks.EMMA}]}",
            "config trainer.callbacks: module 'diffcam.callbacks' has no attribute 'EMMA'",
        ),
        (
            "trainer: {strategy: {class_path: diffcam.tasks.ShardedStrategy}}",
            "config trainer.strategy: the following arguments are required: devices",
        ),
        ("trainer: {max_stpes: 4}", "Subcommand 'fit' does not accept option 'trainer.max_stpes'"),
        ("trainer: {max_steps: four}", "config trainer.max_steps: Expected a <class 'int'>. Got value: four"),
    ],
)
def test_what_a_config_may_not_hold_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], config: str, line: str
) -> None:
    (tmp_path / "wrong.yaml").write_text(config)
    assert refused(monkeypatch, capsys, "fit", "--config", str(tmp_path / "wrong.yaml")) == f"lightning: {line}"


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("fit", "--bogus"), "unrecognized arguments: --bogus"),
        (("fit", "--config", "/no/such.yaml"), "File does not exist: '/no/such.yaml'"),
        (("train",), "invalid choice: 'train'"),
        (("fit", "--model.init_args.stepps", "3"), "config model: Option 'stepps' is not accepted"),
    ],
)
def test_options_that_do_not_exist_are_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], line: str
) -> None:
    assert line in refused(monkeypatch, capsys, *arguments)


def test_help_is_still_there_and_calls_itself_lightning(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        train(["fit", "--help"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out.startswith("usage: lightning [options] fit [-c CONFIG]")


def test_members_of_a_union_are_named_where_none_says_more() -> None:
    message = """Parser key "trainer.precision":
  Does not validate against any of the Union subtypes
  Subtypes: [typing.Literal[64, 32], typing.Literal['64', 'bf16'], <class 'NoneType'>]
  Errors:
    - Expected a typing.Literal[64, 32]
    - Expected a typing.Literal['64', 'bf16']
    - Expected a <class 'NoneType'>
  Given value type: <class 'str'>
  Given value: 7"""
    expected = "Expected a typing.Literal[64, 32], or Expected a typing.Literal['64', 'bf16']"
    assert complaint(message) == f"config trainer.precision: {expected}"
    assert complaint("two\n lines") == "two lines"


@pytest.mark.parametrize(
    "content",
    [b"", b"no checkpoint", b"global_step: 4\n", bytes(4096), b"\x80\x02]q\x00."],
    ids=["empty", "text", "yaml", "zeros", "a pickled list"],
)
def test_a_file_that_is_no_checkpoint_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    path = tmp_path / "x.ckpt"
    path.write_bytes(content)
    line = refused(monkeypatch, capsys, "test", "--ckpt_path", str(path))
    assert line == f"lightning: --ckpt_path {path}: not a checkpoint of a diffcam run"


def test_a_file_of_other_tensors_is_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, content in enumerate((torch.zeros(3), [1, 2], {"weights": {}}, {"state_dict": 3})):
        path = tmp_path / f"{number}.ckpt"
        torch.save(content, path)
        assert "not a checkpoint" in refused(monkeypatch, capsys, "fit", "--ckpt_path", str(path))


def test_a_model_that_is_not_trained_is_not_tested(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`evaluated_weights` is what a config names; the command line may name others, and fit does not read it."""
    config = str(CONFIGS / "refocus.yaml")
    line = refused(monkeypatch, capsys, "test", "--config", config, "--evaluated_weights", "null")
    assert line.startswith("lightning: the model is not trained yet: name its weights with --ckpt_path")
    monkeypatch.setattr(sys, "argv", ["lightning"])
    tested = train(["test", "--config", config], cli=Parsed).config.test.model.init_args
    assert tested.weights == "diffcam-tiny"
    named = train(["test", "--config", config, "--model.init_args.weights", "mine"], cli=Parsed).config.test
    assert named.model.init_args.weights == "mine"
    assert train(["fit", "--config", config], cli=Parsed).config.fit.model.init_args.weights is None


def test_the_default_config_is_read_where_none_is_named_and_only_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["lightning"])
    monkeypatch.chdir(tmp_path)
    default = train(["fit", "--trainer.max_steps", "3"], cli=Parsed).config.fit
    assert (default.trainer.max_steps, default.trainer.logger.init_args.name, default.data.init_args.piece) == (
        3, "refocus", 96,
    )  # fmt: skip
    (tmp_path / "mine.yaml").write_text(
        "data: {class_path: diffcam.data.RefocusDataModule, init_args: {batch_size: 3}}"
    )
    for option in (["--config", "mine.yaml"], ["--config=mine.yaml"], ["-c", "mine.yaml"]):
        with pytest.raises(DiffcamError, match=r"the following arguments are required: fit\.model"):
            train(["fit", *option], cli=Parsed)


@pytest.mark.parametrize(
    ("name", "steps", "own"),
    [
        ("stage2", 500, {"piece": None}),
        ("tiny", 900, {"piece": 320}),
        ("defocus", 5000, {"side": 192, "sharp_share": 0.15, "seed": 0}),
        ("deblurring", 10000, {"side": 128, "sharp_share": 0.0, "seed": 0}),
        ("deblurring_found", 13500, {"side": 128, "sharp_share": 0.1, "seed": 1}),
    ],
)
def test_a_config_is_complete_by_itself(
    name: str, steps: int, own: dict[str, float | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it goes on from is named in it, and what it says wins over that."""
    monkeypatch.setattr(sys, "argv", ["lightning"])
    config = train(["fit", "--config", str(CONFIGS / f"{name}.yaml")], cli=Parsed).config.fit
    assert config.trainer.logger.init_args.name == name
    assert config.trainer.max_steps == steps
    assert {key: config.data.init_args[key] for key in own} == own
    rate, scheduler = config.model.init_args.optimizer.init_args.lr, config.model.init_args.scheduler.init_args
    assert scheduler.get("total_steps", steps) == steps
    if name.startswith(("defocus", "deblurring")):
        assert scheduler["max_lr"] == rate


def test_configs_change_what_they_go_on_from_by_keys_with_dots() -> None:
    """A mapping in place of them would throw away all that the other file says under that key."""
    for path in CONFIGS.rglob("*.yaml"):
        said = yaml.safe_load(path.read_text())
        if "config" in said and path.stem != "benchmark":
            assert next(iter(said)) == "config", f"{path}: what stands above it would be overridden by it"
            inherited = yaml.safe_load((path.parent / said["config"]).read_text())
            assert not {"trainer", "model", "data"} & set(said) & set(inherited), path
