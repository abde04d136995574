"""Datasets that are the same in every run: validation pairs of held-out scenes, and benchmark samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.utils.data import Dataset

from diffcam.data.batch import RefocusSample
from diffcam.data.encoding import decode_scene, decode_variant
from diffcam.data.pairing import Pairing, Rendition
from diffcam.data.perturbation import Perturbation
from diffcam.data.randomness import derived_generator
from diffcam.data.rendering import BokehRenderer
from diffcam.data.schema import Scene
from diffcam.data.shards import SceneEntry
from diffcam.data.view import View
from diffcam.data.window import Size, Window, centred_window
from diffcam.errors import DiffcamError


@dataclass(eq=False)
class ValidationDataset(Dataset[RefocusSample]):
    """Held-out scenes in the largest central window, with pairs fixed by the seed; K = 1.

    Args:
        entries: The scenes.
        resolution: Height and width in pixels of what the model sees.
        pairing: Draws the renditions.
        renderer: Renders those that are not stored.
        seed: Of the draws.
        samples_per_scene: Pairs of each scene.
    """

    entries: Sequence[SceneEntry]
    resolution: Size
    pairing: Pairing
    renderer: BokehRenderer
    seed: int
    samples_per_scene: int = 1

    def __len__(self) -> int:
        return len(self.entries) * self.samples_per_scene

    def __getitem__(self, index: int) -> RefocusSample:
        entry = self.entries[index // self.samples_per_scene]
        with entry.open() as members:
            scene = decode_scene(entry.key, members, variant_images=False)
            window = centred_window((scene.image.shape[1], scene.image.shape[2]), self.resolution)
            view = View(scene, window, self.renderer, partial(decode_variant, entry.key, members))
            pair = self.pairing(scene.variants, view.disparity, derived_generator("validation", self.seed, index))
            target = pair.targets[0]
            subtask = "refocus" if target.camera.bokeh > 0 else "remove_bokeh"
            if pair.reference.camera.bokeh == 0:  # the original is no target for itself, and one of the two at most
                target, subtask = next(one for one in pair.targets if one.camera.bokeh > 0), "add_bokeh"
            return RefocusSample(
                reference=view.picture(pair.reference),
                targets=view.picture(target)[None],
                disparity=view.disparity,
                cameras=(view.camera(target),),
                index=index,
                scene=entry.name,
                subtask=subtask,
                source=scene.source,
                all_in_focus=view.image,
                exact_disparity=view.disparity,
            )


@dataclass(eq=False)
class BenchmarkDataset(Dataset[RefocusSample]):
    """The benchmark samples that scenes describe, scene by scene; K = 1.

    The last scene is cached: the samples of a scene are neighbours, so it is decoded, and each variant rendered, once.

    Args:
        entries: Scenes; those without samples are passed over.
        resolution: Height and width in pixels of what the model sees; a central window, moved to hold the focus.
        renderer: Renders variants that are not stored.
        perturbation: What the model is given in place of the exact disparity; None: that one itself.
        seed: Of the perturbation.

    Raises:
        DiffcamError: If no scene has samples.
    """

    entries: Sequence[SceneEntry]
    resolution: Size
    renderer: BokehRenderer
    perturbation: Perturbation | None
    seed: int

    def __post_init__(self) -> None:
        self._numbers = [(entry, number) for entry in self.entries for number in range(entry.samples)]
        if not self._numbers:
            raise DiffcamError("none of the test scenes has benchmark samples: simulate test shards with samples")
        self._scene: tuple[SceneEntry, Scene] | None = None
        self._views: dict[Window, tuple[View, dict[int | None, Tensor]]] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> RefocusSample:
        entry, number = self._numbers[index]
        if self._scene is None or self._scene[0] != entry:
            self._scene = (entry, entry.read())
            self._views.clear()
        scene = self._scene[1]
        sample = scene.samples[number]
        window = centred_window((scene.image.shape[1], scene.image.shape[2]), self.resolution, sample.camera.focus)
        if window not in self._views:
            view = View(scene, window, self.renderer, lambda variant: scene.variants[variant].image)
            self._views[window] = view, {None: view.image}
        view, pictures = self._views[window]
        for variant in (sample.reference, sample.target):
            if variant is not None and variant not in pictures:
                described = scene.variants[variant]
                pictures[variant] = view.picture(Rendition(described.camera, described.focus_disparity, variant))
        disparity = view.disparity
        wrong = bool(scene.metadata.get("disparity_is_wrong"))  # glass: the given map is not the exact one
        exact = torch.full_like(view.disparity, torch.nan) if wrong else view.disparity
        if self.perturbation is not None:
            disparity = self.perturbation(disparity, derived_generator("benchmark", self.seed, index))
        focus, level = window.locate(sample.camera.focus), view.level(sample.camera.bokeh)
        made_as = None if sample.reference is None else scene.variants[sample.reference]
        return RefocusSample(
            reference=pictures[sample.reference],
            targets=pictures[sample.target][None],
            disparity=disparity,
            cameras=(replace(sample.camera, focus=focus, bokeh=level),),
            index=index,
            scene=entry.name,
            subtask=sample.subtask,
            source=scene.source,
            all_in_focus=view.image,
            exact_disparity=exact,
            reference_blur=(made_as.focus_disparity, view.level(made_as.camera.bokeh)) if made_as else (0.0, 0.0),
        )
