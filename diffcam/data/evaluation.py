"""Samples that stay the same from run to run: validation pairs of held-out scenes, and the benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor
from torch.utils.data import Dataset

from diffcam.data.batch import RefocusSample
from diffcam.data.pairing import Pair, Pairing, Rendition
from diffcam.data.perturbation import Perturbation
from diffcam.data.randomness import derived_generator
from diffcam.data.rendering import BokehRenderer
from diffcam.data.schema import Scene, decode_scene, decode_variant
from diffcam.data.shards import SceneEntry
from diffcam.data.view import View
from diffcam.data.window import Size, Window, centred_window
from diffcam.errors import DiffcamError


class ValidationDataset(Dataset[RefocusSample]):
    """Held-out scenes in the largest central window, with pairs fixed by the seed; K = 1.

    Args:
        entries: The scenes.
        resolution: Height and width of what the model sees.
        pairing: Draws the renditions.
        renderer: Renders those that are not stored.
        seed: Of the draws.
        samples_per_scene: Pairs of each scene.
    """

    def __init__(
        self,
        entries: Sequence[SceneEntry],
        resolution: Size,
        pairing: Pairing,
        renderer: BokehRenderer,
        seed: int,
        samples_per_scene: int = 1,
    ) -> None:
        self._entries = entries
        self._resolution = resolution
        self._pairing = pairing
        self._renderer = renderer
        self._seed = seed
        self._samples_per_scene = samples_per_scene

    def __len__(self) -> int:
        return len(self._entries) * self._samples_per_scene

    def __getitem__(self, index: int) -> RefocusSample:
        entry = self._entries[index // self._samples_per_scene]
        with entry.open() as members:
            scene = decode_scene(entry.key, members, variant_images=False)
            window = centred_window((scene.image.shape[1], scene.image.shape[2]), self._resolution)
            view = View(scene, window, self._renderer, partial(decode_variant, entry.key, members))
            pair = self._pairing(scene.variants, view.disparity, derived_generator("validation", self._seed, index))
            target, subtask = _task(pair)
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


class BenchmarkDataset(Dataset[RefocusSample]):
    """The benchmark samples that scenes describe, scene by scene; K = 1.

    The last scene is kept: its samples follow each other, so each scene is decoded, and each rendition made, once.

    Args:
        entries: Scenes; those without samples are passed over.
        resolution: Height and width of what the model sees; the window is central, moved where it must hold the focus.
        renderer: Renders variants that are not stored.
        perturbation: What the model is given in place of the exact disparity; None: that one itself.
        seed: Of the perturbation.

    Raises:
        DiffcamError: If no scene has samples.
    """

    def __init__(
        self,
        entries: Sequence[SceneEntry],
        resolution: Size,
        renderer: BokehRenderer,
        perturbation: Perturbation | None,
        seed: int,
    ) -> None:
        self._numbers = [(entry, number) for entry in entries for number in range(entry.samples)]
        if not self._numbers:
            raise DiffcamError("none of the test scenes has benchmark samples: simulate test shards with samples")
        self._resolution = resolution
        self._renderer = renderer
        self._perturbation = perturbation
        self._seed = seed
        self._current: tuple[SceneEntry, Scene] | None = None
        self._views: dict[Window, View] = {}
        self._pictures: dict[tuple[Window, int | None], Tensor] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> RefocusSample:
        entry, number = self._numbers[index]
        scene = self._scene(entry)
        sample = scene.samples[number]
        view = self._view(scene, sample.camera.focus)
        disparity = view.disparity
        wrong = bool(scene.metadata.get("disparity_is_wrong"))  # glass: the map that is given is not the exact one
        exact = torch.full_like(view.disparity, torch.nan) if wrong else view.disparity
        if self._perturbation is not None:
            disparity = self._perturbation(disparity, derived_generator("benchmark", self._seed, index))
        camera = replace(
            sample.camera, focus=view.window.locate(sample.camera.focus), bokeh=view.level(sample.camera.bokeh)
        )
        return RefocusSample(
            reference=self._picture(scene, view, sample.reference),
            targets=self._picture(scene, view, sample.target)[None],
            disparity=disparity,
            cameras=(camera,),
            index=index,
            scene=entry.name,
            subtask=sample.subtask,
            source=scene.source,
            all_in_focus=view.image,
            exact_disparity=exact,
            reference_blur=self._blur(scene, view, sample.reference),
        )

    def _blur(self, scene: Scene, view: View, variant: int | None) -> tuple[float, float]:
        """Focus disparity and level, in the window, of a rendition; the original has level 0."""
        if variant is None:
            return 0.0, 0.0
        described = scene.variants[variant]
        return described.focus_disparity, view.level(described.camera.bokeh)

    def _scene(self, entry: SceneEntry) -> Scene:
        if self._current is None or self._current[0] != entry:
            self._current = (entry, entry.read())
            self._views.clear()
            self._pictures.clear()
        return self._current[1]

    def _view(self, scene: Scene, focus: tuple[float, float]) -> View:
        window = centred_window((scene.image.shape[1], scene.image.shape[2]), self._resolution, focus)
        if window not in self._views:
            self._views[window] = View(scene, window, self._renderer, lambda index: scene.variants[index].image)
        return self._views[window]

    def _picture(self, scene: Scene, view: View, variant: int | None) -> Tensor:
        if variant is None:
            return view.image
        if (view.window, variant) not in self._pictures:
            described = scene.variants[variant]
            rendition = Rendition(described.camera, described.focus_disparity, variant)
            self._pictures[view.window, variant] = view.picture(rendition)
        return self._pictures[view.window, variant]


def _task(pair: Pair) -> tuple[Rendition, str]:
    """A target of the pair other than the reference, and the sub-task that leads there."""
    if pair.reference.camera.bokeh == 0:
        return next(target for target in pair.targets if target.camera.bokeh > 0), "add_bokeh"
    target = pair.targets[0]
    return target, "refocus" if target.camera.bokeh > 0 else "remove_bokeh"
