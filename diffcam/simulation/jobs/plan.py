"""A simulation: the shards that it will make, and making those that are not there yet."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TextIO

from diffcam.errors import DiffcamError, refusal
from diffcam.simulation.jobs.engines import Engine
from diffcam.simulation.jobs.manifest import Manifest
from diffcam.simulation.jobs.progress import RunProgress
from diffcam.simulation.jobs.writer import Rendering, ShardJob, make_shard
from diffcam.simulation.sources import Source

IMAGES_PER_SHARD = 256
"""Pictures in a shard, about, where no number of scenes is given: some ten megabytes, minutes of a worker's time."""


@dataclass(frozen=True)
class ShardPlan:
    """All scenes of a source, in shards ``NAME-000000.tar``, ... beside the manifest ``NAME.json``.

    Args:
        folder: Where they lie; made if it is missing.
        scenes_per_shard: None: as many as have about :data:`IMAGES_PER_SHARD` pictures.

    Examples:
        >>> source = diffcam.simulation.SourceOptions(source="procedural", scenes=4, size=(64, 96)).open(print)
        >>> plan = ShardPlan(Path("shards"), "toy", source=source, rendering=Rendering(variants=2), scenes_per_shard=3)
        >>> plan.make(diffcam.simulation.LocalEngine(1), log=open("log.txt", "w")).summary()
        'shards/toy.json: 4 scenes, 12 pictures, 0.1 MB in 2 shards'
    """

    folder: Path
    name: str
    _: KW_ONLY
    source: Source
    rendering: Rendering
    scenes_per_shard: int | None = None

    def make(self, engine: Engine, *, log: TextIO, force: bool = False, verify: bool = False) -> Manifest:
        """Make the shards that no earlier run with the same settings has made.

        Args:
            log: Where progress and the scenes that are left out are told.
            force: Replace an earlier run with other settings.
            verify: Read what an earlier run has made, and make anew what is not as recorded.

        Raises:
            DiffcamError: If the folder holds a run with other settings, or no scene could be made.
        """
        step = self.scenes_per_shard or max(1, IMAGES_PER_SHARD // self.rendering.images_per_scene)
        settings = {"source": self.source.describe(), "rendering": self.rendering.describe(), "scenes_per_shard": step}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DiffcamError(f"--output {self.folder}: cannot be made ({refusal(error)}); choose another") from error
        manifest = Manifest.open(self.folder / f"{self.name}.json", settings, force=force, verify=verify)
        total, jobs = len(self.source), []
        for number, start in enumerate(range(0, total, step)):
            path, stop = self.folder / f"{self.name}-{number:06d}.tar", min(start + step, total)
            jobs.append(ShardJob(path, self.source, self.rendering, start=start, stop=stop))
        made = {(record.start, record.stop) for record in manifest.records.values()}
        waiting = [job for job in jobs if (job.start, job.stop) not in made]
        if len(waiting) < len(jobs):
            print(f"continuing: {len(jobs) - len(waiting)} of {len(jobs)} shards are made already", file=log)
        with RunProgress(total, total - sum(job.stop - job.start for job in waiting), log) as progress:
            for record in engine.run(make_shard, waiting):
                for reason in record.skipped:
                    progress.console.out(f"skipped: {reason}", highlight=False)
                manifest.records[record.start] = record
                manifest.write()
                progress.add(record.scenes, len(record.skipped))
        manifest.write()
        if not any(record.scenes for record in manifest.records.values()):
            raise DiffcamError(f"{manifest.path}: no scene could be made; the lines above say why")
        return manifest
