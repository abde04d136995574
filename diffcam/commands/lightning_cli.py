"""What ``lightning`` says of configs, options and checkpoints that do not fit, in one line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

from diffcam.errors import DiffcamError
from diffcam.tasks.weights import read_checkpoint

_FRAMES = ("Does not validate against", "Subtypes:", "Errors:", "Expected a <class 'NoneType'>")
"""Lines around the complaints of a union's members; what may be left out altogether is never what was meant."""

_CALLABLE = re.compile(r"Type \S.* expects a function or a callable class: (.*)\. Got value: ", re.DOTALL)


class CheckedCLI(LightningCLI):
    """LightningCLI that looks at the checkpoint before anything is built, and keeps no predictions."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the one key of a config that belongs to neither trainer, model nor data."""
        parser.add_argument(
            "--evaluated_weights",
            type=str | None,
            default=None,
            help="what validate, test and predict load where neither --ckpt_path nor model.init_args.weights says it: "
            "a packaged name, an exported folder or a checkpoint",
        )

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parse the command line and its configs.

        Raises:
            DiffcamError: If ``ckpt_path`` is a file that is no checkpoint, or an untrained model would be evaluated.
        """
        super().parse_arguments(parser, args)
        config = self.config[self.config.subcommand]
        path = config.get("ckpt_path")
        if path is not None and Path(path).is_file():  # not 'last' or 'best', nor the folder of a sharded checkpoint
            try:
                read_checkpoint(Path(path))
            except DiffcamError as error:
                raise DiffcamError(f"--ckpt_path {error}") from error
        settings = config.model.init_args
        if self.config.subcommand != "fit" and path is None and settings.get("weights", "") is None:
            if config.evaluated_weights is None:
                raise DiffcamError(
                    "the model is not trained yet: name its weights with --ckpt_path or --model.init_args.weights, "
                    "or with evaluated_weights in the config"
                )
            settings.weights = config.evaluated_weights

    def before_predict(self) -> None:
        """Pictures go to files; all of them would not fit in memory."""
        self.config_init["predict"]["return_predictions"] = False


def complaint(message: str) -> str:
    """The innermost cause in what jsonargparse says, and the keys that lead to it.

    A union's members complain one below the other, each followed by what is inside it, further to the right. The first
    with something inside is the one meant; where there is none, all of them are named.
    """
    keys: list[str] = []
    causes: list[str] = []
    depth = -1
    for line in message.splitlines():
        text = line.strip().removeprefix("- ")
        indent = len(line) - len(line.lstrip())
        if text.startswith(_FRAMES):
            continue
        if indent < depth:
            break
        if key := re.fullmatch(r'Parser key "(.+)":', text):
            keys.append(key[1])
        else:
            causes = [*causes, text] if indent == depth else [text]
        depth = indent
    if not keys or not causes:
        return " ".join(message.split())
    inner = _CALLABLE.match(causes[0])
    return f"config {'.'.join(keys)}: {inner[1] if inner else ', or '.join(causes)}"
