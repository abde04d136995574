"""An edition of the benchmark: shards of scenes, the resolution of their samples, and imperfect disparity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from diffcam.data.batch import RefocusSample
from diffcam.data.encoding import decode_record
from diffcam.data.evaluation import BenchmarkDataset
from diffcam.data.perturbation import Perturbation
from diffcam.data.reader import find_shards, read_index
from diffcam.data.rendering import BokehRenderer
from diffcam.data.shards import SceneEntry
from diffcam.errors import DiffcamError
from diffcam.files import file_sha256


@dataclass(frozen=True)
class SceneSamples:
    """The samples of one scene; ``disparity_is_wrong`` where the map that methods are given is not its own (glass)."""

    scene: str
    numbers: tuple[int, ...]
    subtasks: tuple[str, ...]
    disparity_is_wrong: bool = False


class Edition:
    """Benchmark samples, numbered as ``lightning test`` numbers those of the same shards.

    Args:
        shards: Paths, brace patterns or globs.
        resolution: Side of the square samples, or height and width, in pixels.
        renderer: Renders variants that are not stored; None: that of the paper's data.
        perturbation: Of the disparity that methods are given (table 6); None: exact.

    Raises:
        DiffcamError: If there are no shards, no scene in them has samples, a scene's record is damaged, or the
            renderer's gamma is not the scenes'.

    Examples:
        >>> edition = Edition(["data_shards/heldout-ai-*.tar"], resolution=64)
        >>> edition.scenes()[0].subtasks.count("add_bokeh"), edition[4].subtask, edition[4].cameras[0].bokeh
        (4, 'add_bokeh', 15.0)
    """

    def __init__(
        self,
        shards: Sequence[str],
        resolution: int | tuple[int, int] = 512,
        renderer: BokehRenderer | None = None,
        perturbation: Perturbation | None = None,
        seed: int = 0,
    ) -> None:
        if min((resolution, resolution) if isinstance(resolution, int) else resolution) < 1:
            raise DiffcamError(f"the resolution must be at least 1, got {resolution}")
        self.shards = tuple(shards)
        self.resolution = (resolution, resolution) if isinstance(resolution, int) else tuple(resolution)
        self.renderer = renderer or BokehRenderer()
        self.perturbation = perturbation
        self.seed = seed
        self._records = self._read_records()

    @cached_property
    def entries(self) -> list[SceneEntry]:
        """The scenes that have samples, at least one."""
        return [entry for entry, _ in self._records]

    def _read_records(self) -> list[tuple[SceneEntry, dict[str, Any]]]:
        """The scenes that have samples, and their JSON records; no pixel is decoded."""
        entries = [entry for entry in read_index(self.shards) if entry.samples]
        if not entries:
            raise DiffcamError(
                f"{', '.join(self.shards)}: no scene in them has benchmark samples; "
                "make some with 'diffcam benchmark build'"
            )
        records = []
        for entry in entries:
            with entry.open() as members:
                record = decode_record(entry.key, members)
            gamma = record["metadata"].get("gamma", self.renderer.gamma)
            if gamma != self.renderer.gamma:  # targets are of another light than what methods and metrics are told
                raise DiffcamError(
                    f"{entry.name}: made with gamma {gamma}, but the renderer has {self.renderer.gamma:g}: "
                    f"set gamma to {gamma} in the config, or name other --shards"
                )
            records.append((entry, record))
        return records

    @cached_property
    def samples(self) -> BenchmarkDataset:
        """The samples, by number."""
        height, width = self.resolution
        return BenchmarkDataset(self.entries, (height, width), self.renderer, self.perturbation, self.seed)

    def __getitem__(self, number: int) -> RefocusSample:
        return self.samples[number]

    def __getstate__(self) -> dict[str, Any]:
        # open files and decoded scenes stay behind
        return {name: value for name, value in vars(self).items() if name != "samples"}

    def scenes(self) -> list[SceneSamples]:
        """Scenes with the numbers and sub-tasks of their samples; no pixel is decoded."""
        found, first = [], 0
        for entry, record in self._records:
            subtasks = tuple(sample["subtask"] for sample in record["samples"])
            numbers = tuple(range(first, first + len(subtasks)))
            found.append(
                SceneSamples(entry.name, numbers, subtasks, bool(record["metadata"].get("disparity_is_wrong")))
            )
            first += len(subtasks)
        return found

    @property
    def note(self) -> str:
        """Note for tables on the rows of this edition; "" if there is none."""
        return "" if self.perturbation is None else f"given imperfect disparity: {self.perturbation}"

    def identity(self) -> dict[str, Any]:
        """Settings that results depend on: hashes of the shards, resolution, renderer and perturbation."""
        perturbation = self.perturbation
        return {
            "shards": {Path(path).name: file_sha256(Path(path)) for path in find_shards(self.shards)},
            "resolution": list(self.resolution),
            "gamma": self.renderer.gamma,
            "highlights": self.renderer.highlights,
            "mode": self.renderer.mode,
            "perturbation": "exact" if perturbation is None else {type(perturbation).__name__: vars(perturbation)},
            "seed": self.seed,
        }
