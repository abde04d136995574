"""A command of diffcam, run in the test's own process."""

from __future__ import annotations

import argparse
from types import ModuleType


def run_command(command: ModuleType, *arguments: object) -> int:
    """Parse arguments as the command line of a module of ``diffcam.commands``, and run it."""
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    status: int = command.run(parser.parse_args([str(argument) for argument in arguments]))
    return status
