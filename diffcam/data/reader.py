"""Finding and indexing shards, and limits on how many of their scenes may be damaged."""

from __future__ import annotations

import glob
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from webdataset.shardlists import expand_urls

from diffcam.data.shards import SceneEntry, index_shard
from diffcam.errors import DiffcamError

logger = logging.getLogger(__name__)

PACKAGED = "packaged:"
"""Begins a pattern of the shards that come with the package; others are relative to the working directory."""


def find_shards(patterns: Sequence[str]) -> list[str]:
    """Paths named by brace patterns (``train-{000..012}.tar``) and globs (``train-*.tar``), in order, each once.

    ``packaged:train-*.tar`` names shards that come with the package, wherever it is installed.

    Raises:
        DiffcamError: If a pattern names no file.
    """
    shipped = glob.escape(str(Path(__file__).parents[1] / "data_shards"))
    paths: dict[str, None] = {}
    for pattern in patterns:
        for expanded in expand_urls(pattern):
            name = expanded.removeprefix(PACKAGED)
            found = sorted(glob.glob(name if name == expanded else f"{shipped}/{name}", recursive=True))
            if not found:
                raise DiffcamError(
                    f"{expanded}: no such shard; make shards with 'diffcam simulate' or mend the pattern"
                )
            paths.update(dict.fromkeys(found))
    return list(paths)


def read_index(patterns: Sequence[str], max_damaged_share: float = 0.1) -> list[SceneEntry]:
    """All undamaged scenes of some shards; damaged ones and foreign files are logged by name and left out.

    Foreign files (no member of a scene) do not count as damage. A truncated shard counts as lacking as many scenes as
    it has fewer than the mean of the whole shards, at least one.

    Args:
        patterns: See :func:`find_shards`.
        max_damaged_share: Share of the scenes that may be damaged.

    Raises:
        DiffcamError: If more is damaged, no scene is left, or a pattern names no file.
    """
    indices = [index_shard(path) for path in find_shards(patterns)]
    for line in (line for index in indices for line in index.damage + index.foreign):
        logger.warning("left out: %s", line)
    entries = [entry for index in indices for entry in index.entries]
    whole = [len(index.entries) for index in indices if index.whole]
    mean = round(sum(whole) / len(whole)) if whole else 1
    damaged = sum(
        len(index.damage) if index.whole else len(index.damage) - 1 + max(1, mean - len(index.entries))
        for index in indices
    )
    if damaged > max_damaged_share * (len(entries) + damaged):
        first = next(line for index in indices for line in index.damage)
        raise DiffcamError(
            f"about {damaged} of {len(entries) + damaged} scenes are damaged, more than max_damaged_share = "
            f"{max_damaged_share:g} allows; the first: {first}"
        )
    if not entries:
        raise DiffcamError(f"{', '.join(patterns)}: the shards hold no scene")
    return entries


@dataclass(eq=False)
class DamageCount:
    """Counts scenes whose pixels turn out to be damaged when they are decoded, up to a share of all of them.

    Each loading process counts for itself.
    """

    scenes: int
    max_damaged_share: float
    _damaged: set[SceneEntry] = field(default_factory=set, init=False)

    def add(self, entry: SceneEntry, error: DiffcamError) -> None:
        """Report a damaged scene, once; too many raise a DiffcamError."""
        if entry in self._damaged:
            return
        self._damaged.add(entry)
        if len(self._damaged) > self.max_damaged_share * self.scenes:
            raise DiffcamError(
                f"{len(self._damaged)} of {self.scenes} scenes are damaged, more than max_damaged_share = "
                f"{self.max_damaged_share:g} allows; the last: {error}"
            ) from error
        logger.warning("skipped, another scene is shown instead: %s", error)
