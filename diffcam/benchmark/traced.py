"""Ray-traced scenes for the benchmark: targets are pictures through a thin lens, made by no renderer of the table."""

from __future__ import annotations

from dataclasses import dataclass, fields

from diffcam.data.randomness import derived_generator
from diffcam.data.schema import Scene, Variant
from diffcam.simulation import RaytracedSource
from diffcam.simulation.variants import draw_benchmark_samples


@dataclass(frozen=True)
class TracedSource(RaytracedSource):
    """Ray-traced scenes whose lens pictures are those that the benchmark's samples ask for."""

    @classmethod
    def of(cls, source: RaytracedSource) -> TracedSource:
        """The same scenes with the benchmark's renditions in place of the grid's."""
        return cls(**{field.name: getattr(source, field.name) for field in fields(source)})

    def _draw(self, scene: Scene, index: int) -> tuple[Variant, ...]:
        return draw_benchmark_samples(scene, derived_generator("variants", self.seed, index)).variants
