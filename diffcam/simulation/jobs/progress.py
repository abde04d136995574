"""How far a long run is, how fast it goes and how much time is left."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TextIO

from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TimeRemainingColumn


class RunProgress(Progress):
    """Counts finished scenes, or another unit: in a line that changes on a terminal, in a new one each time elsewhere.

    Args:
        total: Scenes to make, those already made by an earlier run among them.
        clock: Seconds, from any origin; None: rich's clock.
    """

    def __init__(
        self, total: int, done: int, stream: TextIO, *, unit: str = "scenes", clock: Callable[[], float] | None = None
    ) -> None:
        console = Console(file=stream)
        columns = (MofNCompleteColumn(), "{task.description}", TimeRemainingColumn(), "left")
        alone = not console.is_terminal  # then nothing but the lines of `add` is printed
        super().__init__(*columns, console=console, transient=alone, get_time=clock, speed_estimate_period=math.inf)
        self.unit, self.skipped, self.run = unit, 0, self.add_task(unit, total=total, completed=done)
        self.advance(self.run, 0)  # the rate is counted from here

    def add(self, made: int, skipped: int = 0) -> None:
        """Count what was made and what was left out."""
        self.skipped += skipped
        self.advance(self.run, made + skipped)
        rate = f"{self.unit}, {self.tasks[0].speed or 0:.2f} a second"
        self.update(self.run, description=f"{rate}, {self.skipped} skipped" if self.skipped else rate)
        if not self.console.is_terminal:
            self.console.print(self.get_renderable())
