"""Training samples: each a pure function of its global index."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import torch
from torch.utils.data import Dataset

from diffcam.data.batch import RefocusSample
from diffcam.data.encoding import decode_scene, decode_variant
from diffcam.data.filing import Filing
from diffcam.data.order import SampleOrder
from diffcam.data.pairing import Pairing
from diffcam.data.perturbation import Perturbation
from diffcam.data.randomness import derived_generator
from diffcam.data.reader import DamageCount
from diffcam.data.rendering import SURFACES, BokehRenderer
from diffcam.data.view import View
from diffcam.data.window import Buckets
from diffcam.errors import DiffcamError

MAX_SUBSTITUTES = 16
"""Damaged scenes in a row after which training stops with an error; chosen."""


@dataclass(eq=False)
class TrainingDataset(Dataset[RefocusSample]):
    """Training samples by global index, without end; K = 2.

    A scene that turns out to be damaged is reported, and another one of its kind takes its place, so that every rank
    and worker still yields as many samples.

    Args:
        order: From index to scene.
        geometry: Draws what is shown of it.
        pairing, renderer: Draw its renditions, and render those that are not stored.
        perturbation: What the model is given in place of the exact disparity.
        filing: What the model is given in place of the clean reference; None: that one itself.
        seed: Of all draws but the order.
        max_damaged_share: Share of the scenes that may be damaged.
    """

    order: SampleOrder
    geometry: Buckets
    pairing: Pairing
    renderer: BokehRenderer
    perturbation: Perturbation
    filing: Filing | None
    seed: int
    max_damaged_share: float

    def __post_init__(self) -> None:
        self._damage = DamageCount(len(self.order), self.max_damaged_share)

    def __getitem__(self, index: int) -> RefocusSample:
        generator = derived_generator("sample", self.seed, index)
        entry = self.order.entry(index)
        for _ in range(MAX_SUBSTITUTES):
            try:
                with entry.open() as members:
                    scene = decode_scene(
                        entry.key, members, variant_images=False, surfaces=self.renderer.mode == SURFACES
                    )
                    window = self.geometry.at(index)((scene.image.shape[1], scene.image.shape[2]), generator)
                    view = View(scene, window, self.renderer, partial(decode_variant, entry.key, members))
                    pair = self.pairing(scene.variants, view.disparity, generator)
                    reference = view.picture(pair.reference)
                    disparity = self.perturbation(view.disparity, generator)
                    return RefocusSample(
                        reference=reference if self.filing is None else self.filing(reference, generator),
                        targets=torch.stack([view.picture(target) for target in pair.targets]),
                        disparity=disparity,
                        cameras=tuple(view.camera(target) for target in pair.targets),
                        index=index,
                        scene=entry.name,
                        subtask="train",
                        source=scene.source,
                    )
            except DiffcamError as error:
                self._damage.add(entry, error)
                entry = self.order.substitute(entry, generator)
        raise DiffcamError(f"{entry.shard}: {MAX_SUBSTITUTES} damaged scenes in a row; check the training shards")
