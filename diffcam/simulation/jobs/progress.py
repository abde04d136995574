"""A line that says how far a long run is, how fast it goes and when it will be done."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO


class Progress:
    """Counts finished scenes, or whatever the unit is.

    Args:
        total: Scenes to make, those already made by an earlier run among them.
        done: Those already made.
        stream: Where lines go; on a terminal each overwrites the one before.
        clock: Seconds, from any origin.
        unit: What is counted.
    """

    def __init__(
        self,
        total: int,
        done: int,
        stream: TextIO,
        *,
        clock: Callable[[], float] = time.monotonic,
        unit: str = "scenes",
    ) -> None:
        self.total = total
        self.done = done
        self.skipped = 0
        self._stream = stream
        self._clock = clock
        self._unit = unit
        self._began = clock()
        self._first = done
        self._end = "\r" if stream.isatty() else "\n"

    def add(self, scenes: int, skipped: int) -> None:
        """Count scenes that were made and scenes that were left out, and print the line."""
        self.done += scenes + skipped
        self.skipped += skipped
        print(f"{self.line():<78}", end=self._end, file=self._stream, flush=True)

    def line(self) -> str:
        """The text of the line."""
        made = self.done - self._first
        seconds = max(self._clock() - self._began, 1e-9)
        rate = made / seconds
        minutes, rest = divmod(round((self.total - self.done) / rate if rate > 0 else 0.0), 60)
        hours, minutes = divmod(minutes, 60)
        left = f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
        text = f"{self.done}/{self.total} {self._unit}, {rate:.2f} {self._unit}/s, {left} left"
        return f"{text}, {self.skipped} skipped" if self.skipped else text

    def close(self) -> None:
        """End the line."""
        if self._end == "\r":
            print(file=self._stream)
