"""One shard of a simulation: the unit of work, of restart and of repair."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import KW_ONLY, asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from diffcam.data.randomness import derived_generator
from diffcam.data.schema import Scene
from diffcam.data.shards import write_shard
from diffcam.errors import DiffcamError, refusal
from diffcam.files import file_sha256, remove_unfinished
from diffcam.functional.bokeh import PAPER_GAMMA
from diffcam.grid import LEVELS, PLANES
from diffcam.simulation.sources import Source
from diffcam.simulation.variants import (
    MANIFEST_NUMBERS,
    Openings,
    draw_benchmark_samples,
    draw_renditions,
    load_bokehme,
    render_variants,
)


@dataclass(frozen=True)
class Rendering:
    """What is added to each scene, and how it is stored.

    Args:
        variants: Renditions of each scene, with their pictures.
        benchmark: Add the ten benchmark samples; their renditions are rendered when read.
        quality: Of JPEG, 1 to 100.
        attribution: Licence and authors, kept in every scene.
        mode: Of the renderer, see :func:`render_variants`.
        networks: Folder of BokehMe's networks, which then render in place of the renderer, through round apertures.
    """

    variants: int | Literal["grid"] = 0
    _: KW_ONLY
    benchmark: bool = False
    seed: int = 0
    gamma: float = PAPER_GAMMA
    image_format: Literal["jpg", "png"] = "jpg"
    quality: int = 95
    device: str = "cpu"
    attribution: str = ""
    mode: str = "classical"
    openings: Openings = field(default_factory=Openings)
    networks: Path | None = None

    @property
    def images_per_scene(self) -> int:
        """Pictures that a scene stores, the original among them, where it brings none of its own."""
        return 1 + (len(PLANES) * len(LEVELS) if self.variants == "grid" else self.variants)

    def complete(self, scene: Scene, index: int) -> Scene:
        """The scene with its variants or samples; a pure function of scene, index and settings.

        A scene that brings its own pictures, taken through a lens and not rendered, keeps them.
        """
        if self.attribution:
            scene = replace(scene, metadata={**scene.metadata, "attribution": self.attribution})
        generator = derived_generator("variants", self.seed, index)
        if self.benchmark:
            return draw_benchmark_samples(scene, generator)
        if self.variants == 0 or scene.variants:
            return scene
        drawn = draw_renditions(scene, self.variants, generator)
        if self.openings != Openings():
            drawn = tuple(self.openings.fit(variant, generator) for variant in drawn)
        return render_variants(
            scene, drawn, gamma=self.gamma, device=self.device, mode=self.mode, networks=self.networks
        )

    def describe(self) -> dict[str, Any]:
        """The settings, for the manifest, as the first release wrote them, so that its runs can be continued.

        The whole grid is -1, PNG is quality 0, and what was added since is there only where it is not the default.
        """
        settings = asdict(self)
        settings["variants"] = MANIFEST_NUMBERS.get(self.variants, self.variants)
        settings["quality"] = 0 if settings.pop("image_format") == "png" else self.quality
        for name in ("mode", "openings"):
            if getattr(self, name) == getattr(Rendering(), name):
                del settings[name]
        del settings["networks"]
        if self.networks is not None:
            weights = load_bokehme(self.networks, "cpu").state_dict()
            content = b"".join(name.encode() + value.numpy().tobytes() for name, value in weights.items())
            settings["network"] = hashlib.sha256(content).hexdigest()
        return settings


@dataclass(frozen=True)
class ShardJob:
    """Scenes ``start`` to ``stop`` (exclusive) of a source, to be written to ``path``."""

    path: Path
    source: Source
    rendering: Rendering
    _: KW_ONLY
    start: int
    stop: int


@dataclass(frozen=True)
class ShardRecord:
    """What became of a job.

    Args:
        start, stop: First scene number, and one past the last.
        scenes: Scenes in the shard; with 0, no file was written.
        skipped: One line for each scene that was left out.
    """

    name: str
    start: int
    stop: int
    scenes: int
    images: int
    bytes: int
    sha256: str
    skipped: tuple[str, ...]

    def on_disk(self, folder: Path, verify: bool = False) -> bool:
        """Whether the file, if the shard has scenes, is there in its full size; verified, with its hash too."""
        path = folder / self.name
        whole = path.is_file() and path.stat().st_size == self.bytes
        return self.scenes == 0 or (whole and (not verify or file_sha256(path) == self.sha256))


def make_shard(job: ShardJob) -> ShardRecord:
    """Make the scenes of a job and write them as one shard; bytes depend on the job alone.

    Scenes that cannot be made are left out and named in the record.
    """
    skipped: list[str] = []
    written: list[int] = []  # pictures of each scene

    def scenes() -> Iterator[Scene]:
        for index in range(job.start, job.stop):
            try:
                scene = job.rendering.complete(job.source.scene(index), index)
            except DiffcamError as error:
                skipped.append(str(error))
                continue
            written.append(1 + sum(variant.image is not None for variant in scene.variants))
            yield scene

    remove_unfinished(job.path)
    try:
        sha256 = write_shard(job.path, scenes(), job.rendering.image_format, job.rendering.quality)
    except OSError as error:
        advice = "make room, then run again: what is done is kept"
        raise DiffcamError(f"{job.path}: cannot be written ({refusal(error)}); {advice}") from error
    size = job.path.stat().st_size
    if not written:
        job.path.unlink()
        sha256, size = "", 0
    return ShardRecord(
        name=job.path.name,
        start=job.start,
        stop=job.stop,
        scenes=len(written),
        images=sum(written),
        bytes=size,
        sha256=sha256,
        skipped=tuple(skipped),
    )
