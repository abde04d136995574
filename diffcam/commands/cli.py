"""The two console scripts: ``lightning`` (fit, validate, test, predict) and ``diffcam`` (everything else)."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from diffcam import __version__
from diffcam.errors import DiffcamError

CONFIGS = Path(__file__).parents[2] / "configs"
DEFAULT_CONFIG = CONFIGS / "refocus.yaml"
PACKAGED_WEIGHTS_CONFIG = CONFIGS / "packaged.yaml"

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
    """Run LightningCLI with diffcam's tasks and data module, as ``lightning`` does; returns the CLI object.

    Without ``--config`` every subcommand reads ``configs/refocus.yaml``; ``validate``, ``test`` and ``predict`` then
    run the packaged model unless weights or a checkpoint are named.

    Args:
        arguments: Command line without the program's name; None: the process's own.
        cli: Class that runs it; None: :class:`diffcam.commands.lightning_cli.CheckedCLI`.

    Raises:
        DiffcamError: If what is asked for cannot be run.
    """
    import lightning
    from jsonargparse import set_parsing_settings

    from diffcam.commands.lightning_cli import CheckedCLI
    from diffcam.data.datamodule import RefocusDataModule

    trained = {"default_config_files": [str(DEFAULT_CONFIG), str(PACKAGED_WEIGHTS_CONFIG)]}
    parsers: dict[str, Any] = dict.fromkeys(("validate", "test", "predict"), trained)
    parsers["fit"] = {"default_config_files": [str(DEFAULT_CONFIG)]}
    for options in parsers.values():
        options |= {"exit_on_error": False}
    parsers |= {
        "prog": "lightning",
        "parser_mode": "omegaconf+",
        "exit_on_error": False,
    }  # subcommands take the mode over
    set_parsing_settings(omegaconf_absolute_to_relative_paths=True)  # configs begin at the subcommand, not at the root
    try:
        return (cli or CheckedCLI)(
            lightning.LightningModule,
            RefocusDataModule,
            trainer_class=lightning.Trainer,
            subclass_mode_model=True,
            subclass_mode_data=True,
            save_config_kwargs={"overwrite": True},
            parser_kwargs=parsers,
            args=list(arguments) if arguments is not None else None,
        )
    except argparse.ArgumentError as error:
        raise _not_accepted(error) from error
    except ValueError as error:
        raise _refusal(error) from error


def run_diffcam(arguments: Sequence[str] | None = None) -> int:
    """Run one of the ``diffcam`` commands; returns its exit status."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog="diffcam", description="Change the focus and blur of a photo after it was taken."
    )
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


def _not_accepted(error: argparse.ArgumentError) -> DiffcamError:
    """What is wrong with an option or a config, without the usage and the configuration around it."""
    from diffcam.commands.lightning_cli import complaint

    said = complaint(str(error))
    if "arguments are required" in said and not DEFAULT_CONFIG.is_file():
        said = "no default config was found: run from a clone of the project, or give --config FILE"
    return DiffcamError(said)


def _refusal(error: ValueError) -> Exception:
    """What a constructor said of its arguments, around which jsonargparse repeats the whole configuration."""
    said: BaseException = error
    while str(said).startswith("Does not validate against any of the Union subtypes") and said.__cause__ is not None:
        said = said.__cause__
    return error if said is error else DiffcamError(str(said))


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
        message = " ".join(str(error).split())
        print(f"{program}: {message}", file=sys.stderr)
        return 2
    except OSError as error:
        if error.strerror is None and error.filename is None:
            print(f"{program}: {error}", file=sys.stderr)
        else:
            print(f"{program}: {error.filename or ''}: {error.strerror}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{program}: interrupted", file=sys.stderr)
        return 130
