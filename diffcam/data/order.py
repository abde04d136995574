"""Which scene each training sample shows: a pure function of the sample's index, so that resuming is exact.

Sample ``n`` belongs to optimizer step ``n // global_batch``. Its kind is drawn with the probabilities of that step; the
scenes of a kind are gone through in a fresh permutation each epoch of that kind, so that within it none comes twice and
none is lost. No state is kept: what is cached can be computed again from the index.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor

from diffcam.data.mixture import Mixture
from diffcam.data.randomness import derived_generator
from diffcam.data.shards import SceneEntry
from diffcam.errors import DiffcamError

CHUNK = 65_536
"""Samples whose kinds are drawn at once; chosen."""


class SampleOrder:
    """From sample index to scene.

    Args:
        entries: All training scenes, shard by shard.
        seed: Of the order.
        mixture: Probability of each kind over the steps.
        global_batch: Samples an optimizer step, over all ranks and accumulated batches.
        shuffle_shards: Number of shards whose scenes are mixed with each other, so that few files are open at a time.

    Raises:
        DiffcamError: If there is no scene.
        ValueError: If a number is not positive.
    """

    def __init__(
        self, entries: Sequence[SceneEntry], seed: int, mixture: Mixture, global_batch: int, shuffle_shards: int = 16
    ) -> None:
        if not entries:
            raise DiffcamError("the training shards hold no scene")
        if global_batch < 1 or shuffle_shards < 1:
            raise ValueError(f"global_batch and shuffle_shards must be positive, got {global_batch}, {shuffle_shards}")
        self._by_kind: dict[str, list[SceneEntry]] = {}
        for entry in sorted(entries, key=lambda entry: entry.kind):  # stable: file order within a kind
            self._by_kind.setdefault(entry.kind, []).append(entry)
        self._kinds = list(self._by_kind)
        self._seed = seed
        self._mixture = mixture
        self._global_batch = global_batch
        self._shuffle_shards = shuffle_shards
        self._counts_before = [torch.zeros(len(self._kinds), dtype=torch.int64)]  # per chunk, scenes of a kind so far
        self._chunk: tuple[int, Tensor, Tensor] | None = None
        self._permutations: dict[tuple[int, int], list[int]] = {}

    def __len__(self) -> int:
        """How many scenes there are."""
        return sum(len(entries) for entries in self._by_kind.values())

    def identity(self) -> dict[str, int | str]:
        """Settings that the order depends on: runs in which they are equal see the same scenes."""
        names = "\n".join(entry.name for entries in self._by_kind.values() for entry in entries)
        return {
            "seed": self._seed,
            "global_batch": self._global_batch,
            "scenes": hashlib.blake2b(names.encode(), digest_size=8).hexdigest(),
        }

    def entry(self, index: int) -> SceneEntry:
        """The scene of a sample, by its global index from 0; there is no last one."""
        number, offset = divmod(index, CHUNK)
        while len(self._counts_before) <= number:
            _, running = self._draw_kinds(len(self._counts_before) - 1)
            self._counts_before.append(self._counts_before[-1] + running[-1])
        if self._chunk is None or self._chunk[0] != number:
            self._chunk = (number, *self._draw_kinds(number))
        _, kind_N, running_NK = self._chunk
        kind = int(kind_N[offset])
        # How many samples of that kind come before this one.
        count = int(self._counts_before[number][kind] + running_NK[offset, kind]) - 1
        entries = self._by_kind[self._kinds[kind]]
        epoch, position = divmod(count, len(entries))
        if (kind, epoch) not in self._permutations:
            # Prefetching workers and resumed runs look at most one epoch back.
            self._permutations = {k: v for k, v in self._permutations.items() if k[0] != kind or k[1] == epoch - 1}
            # Shards are shuffled, then scenes within groups of shards.
            generator = derived_generator("permutation", self._seed, self._kinds[kind], epoch)
            shards: dict[str, list[int]] = {}
            for place, entry in enumerate(entries):
                shards.setdefault(entry.shard, []).append(place)
            blocks = list(shards.values())
            blocks = [blocks[i] for i in torch.randperm(len(blocks), generator=generator).tolist()]
            order: list[int] = []
            for start in range(0, len(blocks), self._shuffle_shards):
                mixed = [place for block in blocks[start : start + self._shuffle_shards] for place in block]
                order += [mixed[i] for i in torch.randperm(len(mixed), generator=generator).tolist()]
            self._permutations[kind, epoch] = order
        return entries[self._permutations[kind, epoch][position]]

    def substitute(self, entry: SceneEntry, generator: torch.Generator) -> SceneEntry:
        """Another scene of the same kind, for one that turned out to be damaged."""
        others = [other for other in self._by_kind[entry.kind] if other is not entry] or [entry]
        return others[int(torch.randint(len(others), (), generator=generator))]

    def _draw_kinds(self, number: int) -> tuple[Tensor, Tensor]:
        """Kinds of a chunk's samples ``(N,)``, and the running count of each kind ``(N, kinds)``."""
        steps = torch.arange(number * CHUNK, (number + 1) * CHUNK) // self._global_batch
        scenes = {kind: len(entries) for kind, entries in self._by_kind.items()}
        edges_NK = self._mixture.probabilities(steps, scenes).cumsum(dim=1)[:, :-1].contiguous()
        draws_N1 = torch.rand(CHUNK, 1, generator=derived_generator("kind", self._seed, number), dtype=torch.float64)
        kind_N = torch.searchsorted(edges_NK, draws_N1, right=True)[:, 0]
        return kind_N, torch.nn.functional.one_hot(kind_N, len(scenes)).cumsum(dim=0)
