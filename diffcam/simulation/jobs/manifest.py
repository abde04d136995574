"""The record of a simulation beside its shards: what was asked for, what was made, and the hashes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from diffcam.errors import DiffcamError
from diffcam.files import remove_unfinished, unfinished
from diffcam.simulation.jobs.writer import ShardRecord

VERSION = 1
"""Of the file's layout."""

COUNTED = ("scenes", "images", "bytes")
"""Fields of a record that the manifest sums over its shards."""


@dataclass
class Manifest:
    """What a simulation has made so far; written anew, atomically, after each shard.

    Args:
        path: The JSON file.
        settings: All that the shards' bytes depend on.
        records: Records by first scene number.
    """

    path: Path
    settings: Mapping[str, Any]
    records: dict[int, ShardRecord] = field(default_factory=dict)

    @classmethod
    def open(cls, path: Path, settings: Mapping[str, Any], *, force: bool = False, verify: bool = False) -> Manifest:
        """Continue the manifest of an earlier run with the same settings, or begin one.

        Args:
            force: Delete what an earlier run with other settings has made, instead of refusing.
            verify: Keep only shards that have the hash in their record; otherwise their size is enough.

        Raises:
            DiffcamError: If the file is not a manifest, or of a run with other settings.
        """
        remove_unfinished(path)
        settings = json.loads(json.dumps(settings))
        if not path.exists():
            return cls(path, settings)
        try:
            content = json.loads(path.read_text())
            if content["version"] != VERSION:
                raise ValueError(f"version {content['version']}")
            old = [ShardRecord(**{**entry, "skipped": tuple(entry["skipped"])}) for entry in content["shards"]]
            before = content["settings"]
        except (ValueError, KeyError, TypeError) as error:
            raise DiffcamError(f"{path}: not a simulation manifest ({error}); choose another --output") from error
        if before == settings:
            return cls(path, settings, {record.start: record for record in old if record.on_disk(path.parent, verify)})
        if not force:
            differing = ", ".join(_differences(before, settings))
            raise DiffcamError(
                f"{path}: holds a run with other settings ({differing}); choose another --output or --name, or --force"
            )
        for record in old:
            (path.parent / record.name).unlink(missing_ok=True)
        path.unlink()
        return cls(path, settings)

    def summary(self) -> str:
        """How much was made, in a line."""
        records = self.records.values()
        scenes, images, size = (sum(getattr(record, name) for record in records) for name in COUNTED)
        return f"{self.path}: {scenes} scenes, {images} pictures, {size / 1e6:.1f} MB in {len(records)} shards"

    def write(self) -> None:
        """Write the file, whole or not at all."""
        shards = [self.records[start] for start in sorted(self.records)]
        content = {
            "version": VERSION,
            "settings": self.settings,
            "counts": {name: sum(getattr(shard, name) for shard in shards) for name in COUNTED},
            "skipped": sum(len(shard.skipped) for shard in shards),
            "shards": [asdict(shard) for shard in shards],
        }
        with unfinished(self.path) as partial:
            partial.write_text(json.dumps(content, indent=1))


def _differences(old: Any, new: Any, prefix: str = "") -> Iterable[str]:
    """Names of the settings that differ, with both values where they are short."""
    for key in sorted({*old, *new}):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from _differences(before, after, f"{prefix}{key}.")
        elif before != after:
            yield f"{prefix}{key}: {str(before)[:40]} -> {str(after)[:40]}"
