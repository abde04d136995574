"""What a method has done so far, in a folder of its own: outputs, rows, failures; nothing finished is done again."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from diffcam.errors import DiffcamError
from diffcam.files import unfinished
from diffcam.metrics import Row, read_rows, write_rows
from diffcam.metrics.scores import MODEL, ROWS_FILE, decode_row, encode_row
from diffcam.photo.pixels import from_picture, to_picture

JOURNAL_FILE = "samples.jsonl"
"""Rows of a run that has not ended, one JSON object a line, beside where its ``ROWS_FILE`` will be."""

RECORD_FILE = "record.json"
"""What results depend on, and what is missing from them, see :class:`Results`."""


class Results:
    """One method's results.

    Rows go to a journal as they come, so that a run that is killed loses at most the scene it was at, and to a CSV file
    when the run ends.

    Attributes:
        rows: Row by sample number.
        record: What :meth:`open` was given, and what :meth:`finish` adds: missing metrics, failures, notes.

    Examples:
        >>> results = Results(Path("results/copy"))
        >>> results.open({"edition": "toy"})
        >>> results.add([Row("copy", 7, "toy/000000", "refocus", "camera", 8.0, (0.25, 0.5), {"mae": 0.125})])
        >>> Results(Path("results/copy")).rows[7].scores  # kept as soon as they are added
        {'mae': 0.125}
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rows: dict[int, Row] = {}
        self.record: dict[str, Any] = {}
        if (folder / RECORD_FILE).exists():
            try:
                self.record = dict(json.loads((folder / RECORD_FILE).read_text(encoding="utf-8")))
            except (OSError, ValueError) as error:
                raise DiffcamError(
                    f"{folder / RECORD_FILE}: cannot be read ({error}); delete the folder to start anew"
                ) from error
        if (folder / ROWS_FILE).exists():
            # a file of `lightning test` also holds its controls
            self.rows = {row.sample: row for row in read_rows(folder / ROWS_FILE) if row.method in (folder.name, MODEL)}
        if (folder / JOURNAL_FILE).exists():
            for line in (folder / JOURNAL_FILE).read_text(encoding="utf-8").splitlines():
                try:
                    row = decode_row(line)
                except ValueError:
                    break  # the line at which an earlier run was killed
                self.rows[row.sample] = row

    @property
    def name(self) -> str:
        """Name of the method."""
        return self.folder.name

    def open(self, settings: Mapping[str, Any], force: bool = False, **facts: Any) -> None:
        """Begin or continue a run.

        Args:
            settings: All that rows and outputs depend on: edition, method and its weights. An edition that has got
                further shards since, behind those that it had, is a continuation: samples keep their numbers.
            force: Forget results of other settings instead of refusing.

        Raises:
            DiffcamError: If the folder holds results of other settings.
        """
        settings = json.loads(json.dumps(settings))
        differing = ", ".join(name for name in settings if not _continues(settings[name], self.record.get(name)))
        if self.record and differing:
            if not force:
                raise DiffcamError(
                    f"{self.folder}: holds results with another {differing}; choose another --output, or --force"
                )
            for path in (*self.folder.glob("outputs/*.png"), self.folder / ROWS_FILE, self.folder / JOURNAL_FILE):
                path.unlink(missing_ok=True)
            self.rows, self.record = {}, {}
        self.folder.mkdir(parents=True, exist_ok=True)
        self.record = {**self.record, **settings, **facts}
        self._write_record()

    def add(self, rows: Sequence[Row]) -> None:
        """Keep rows now; they survive if the process does not."""
        with open(self.folder / JOURNAL_FILE, "a", encoding="utf-8") as file:
            for row in rows:
                file.write(encode_row(row) + "\n")
        self.rows |= {row.sample: row for row in rows}

    def finish(self, missing: Mapping[str, str], failures: Mapping[int, str], **facts: Any) -> None:
        """Write rows and record at the end of a run, with reasons: by column for metrics, by number for samples."""
        if self.rows:
            with unfinished(self.folder / ROWS_FILE) as partial:
                write_rows(partial, [self.rows[number] for number in sorted(self.rows)])
        (self.folder / JOURNAL_FILE).unlink(missing_ok=True)
        failed = {str(number): failures[number] for number in sorted(failures)}
        self.record = {**self.record, "missing": dict(missing), "failures": failed, **facts}
        self._write_record()

    def output_path(self, number: int) -> Path:
        """Where a sample's output is kept."""
        return self.folder / "outputs" / f"{number:06d}.png"

    def save_output(self, number: int, output_3HW: Tensor) -> None:
        """Keep an output, whole or not at all."""
        path = self.output_path(number)
        path.parent.mkdir(exist_ok=True)
        with unfinished(path) as partial:
            to_picture(output_3HW).save(partial, format="PNG", compress_level=1)

    def load_output(self, number: int) -> Tensor | None:
        """A kept output ``(3, H, W)``, or None where there is none or the file is damaged."""
        path = self.output_path(number)
        try:
            with Image.open(path) as picture:
                return from_picture(picture)
        except FileNotFoundError:
            return None
        except (OSError, SyntaxError, ValueError):
            path.unlink()  # damaged: it is made again
            return None

    def _write_record(self) -> None:
        with unfinished(self.folder / RECORD_FILE) as partial:
            partial.write_text(json.dumps(self.record, indent=1), encoding="utf-8")


def read_results(folder: Path) -> dict[str, Results]:
    """The results of all methods in a folder, by name; a log folder of ``lightning test`` counts as a method.

    Raises:
        DiffcamError: If there are none.
    """
    places = {path.parent for name in (RECORD_FILE, ROWS_FILE) for path in folder.glob(f"*/{name}")}
    found = [Results(place) for place in places]
    if not found:
        raise DiffcamError(f"{folder}: holds no benchmark results; make some with 'diffcam benchmark run'")
    return {results.name: results for results in sorted(found, key=lambda one: (one.record.get("order", 0), one.name))}


def _continues(setting: Any, held: Any) -> bool:
    """Whether results of the held setting are results of this one too."""
    if not (isinstance(setting, dict) and isinstance(held, dict) and "shards" in setting and "shards" in held):
        return bool(setting == held)
    before, now = list(held["shards"].items()), list(setting["shards"].items())
    rest = [{name: value for name, value in one.items() if name != "shards"} for one in (setting, held)]
    return before == now[: len(before)] and rest[0] == rest[1]
