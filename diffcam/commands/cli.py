"""The two console scripts: ``lightning`` (fit, validate, test, predict) and ``diffcam`` (everything else)."""

from __future__ import annotations

import argparse
import importlib
import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from diffcam import __version__
from diffcam.errors import DiffcamError, refusal

CONFIGS = Path(__file__).parents[1] / "configs"
"""Folder of the configs that come with the package; in a checkout a link to the project's own."""

COMMANDS = {
    "refocus": ("diffcam.commands.refocus", "refocus a photo"),
    "simulate": ("diffcam.commands.simulate", "make shards of bokeh pairs from photos"),
    "photos": ("diffcam.commands.photos", "shrink a folder of photos to what is carried to another machine"),
    "inspect": ("diffcam.commands.inspect", "show what is in a shard"),
    "state": ("diffcam.commands.state", "carry a training run to another machine"),
    "benchmark": ("diffcam.commands.benchmark", "build, run and print the benchmark"),
    "plan": ("diffcam.commands.plan", "reckon parameters, memory and days of a training config"),
    "ui": ("diffcam.commands.ui", "open the click-to-refocus page"),
}


def train(arguments: Sequence[str] | None = None, cli: Any = None) -> Any:
    """Run LightningCLI with diffcam's tasks and data modules, as ``lightning`` does; returns the CLI object.

    ``configs/refocus.yaml`` is read where no ``--config`` is named, and only there.

    Args:
        arguments: Command line without the program's name; None: the process's own.
        cli: Class that runs it; None: :class:`diffcam.commands.lightning_cli.CheckedCLI`.

    Raises:
        DiffcamError: If what is asked for cannot be run.
    """
    import lightning
    from jsonargparse import set_parsing_settings
    from lightning.pytorch.cli import LightningCLI

    from diffcam.commands.lightning_cli import CheckedCLI, complaint

    given = sys.argv[1:] if arguments is None else arguments
    named = any(argument.startswith(("--config", "-c")) for argument in given)
    options = {"exit_on_error": False, "default_config_files": [] if named else [str(CONFIGS / "refocus.yaml")]}
    parsers: dict[str, Any] = {name: dict(options) for name in LightningCLI.subcommands()}
    # In this mode interpolations such as ${data.init_args.resolution} see overrides; subcommands take it over.
    parsers |= {"prog": "lightning", "parser_mode": "omegaconf+", "exit_on_error": False}
    set_parsing_settings(omegaconf_absolute_to_relative_paths=True)  # a config's root is its subcommand
    try:
        return (cli or CheckedCLI)(
            lightning.LightningModule,
            lightning.LightningDataModule,
            trainer_class=lightning.Trainer,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_kwargs={"overwrite": True},
            parser_kwargs=parsers,
            args=list(arguments) if arguments is not None else None,
        )
    except argparse.ArgumentError as error:
        raise DiffcamError(complaint(str(error))) from error
    except ValueError as error:
        # What a constructor said of its arguments; jsonargparse repeats the whole configuration around it.
        said: BaseException = error
        while str(said).startswith("Does not validate against any of the Union subtypes") and said.__cause__:
            said = said.__cause__
        if said is error:
            raise
        raise DiffcamError(str(said)) from error


def run_diffcam(arguments: Sequence[str] | None = None) -> int:
    """Run one of the ``diffcam`` commands; returns its exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for index in range(len(arguments) - 1, 0, -1):  # argparse would take a value such as -0.1,0.5 for an option
        if arguments[index - 1].startswith("--") and re.match(r"-[\d.]", arguments[index]):
            arguments[index - 1 : index + 1] = [f"{arguments[index - 1]}={arguments[index]}"]
    description = "Change the focus and blur of a photo after it was taken."
    parser = argparse.ArgumentParser(prog="diffcam", description=description)
    parser.add_argument("--version", action="version", version=f"diffcam {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = arguments[0] if arguments else None
    for name, (module, description) in COMMANDS.items():
        subparser = commands.add_parser(name, help=description, description=description.capitalize() + ".")
        if name == chosen:  # only the chosen command's module is imported: they are heavy
            implementation = importlib.import_module(module)
            implementation.add_arguments(subparser)
            subparser.set_defaults(run=implementation.run)
    parsed = parser.parse_args(arguments)
    return int(parsed.run(parsed))


def main() -> None:
    """Console script ``diffcam``."""
    sys.exit(_in_words("diffcam", run_diffcam, (DiffcamError, ValueError)))


def lightning_main() -> None:
    """Console script ``lightning``, and ``python -m diffcam fit`` and the like."""

    def run() -> int:
        train()
        return 0

    sys.exit(_in_words("lightning", run, (DiffcamError,)))


def _in_words(program: str, run: Callable[[], int], mendable: tuple[type[Exception], ...]) -> int:
    """Run a command; what a user can mend ends as one line instead of a traceback."""
    try:
        status = run()
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # `head` has read enough; what is still buffered would fail again at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141  # what a shell says of a program that such a pipe ended
    except mendable as error:
        print(f"{program}: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except OSError as error:
        print(": ".join([program, *filter(None, [error.filename]), refusal(error)]), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        return 130
