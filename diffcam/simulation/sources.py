"""Where scenes come from. A source is a small recipe that can be sent to a worker; it opens files there.

Every source is a pure function from a number to a scene, so that any worker can make any scene.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from diffcam.data.schema import Scene
from diffcam.errors import DiffcamError, check_choice
from diffcam.simulation.draws import Draws
from diffcam.simulation.layered.scenes import LayeredSource
from diffcam.simulation.photographed.all_in_focus import DEFAULT_THRESHOLD
from diffcam.simulation.photographed.development import (
    Development,
    DisparityFolder,
    DisparityProvider,
    EstimatedDisparity,
)
from diffcam.simulation.photographed.generated import GeneratedSource, read_prompts
from diffcam.simulation.photographed.source import PhotoSource, merged_results
from diffcam.simulation.raytraced.raytracer import choose_variant
from diffcam.simulation.raytraced.source import RaytracedSource
from diffcam.simulation.textures.photos import PhotoFolder, check_photos, list_photos
from diffcam.simulation.textures.procedural import ProceduralTextures
from diffcam.simulation.variants import Renditions

MADE_SCENES = 256
"""Scenes of a source without an end, where no number is given."""

TEXTURE_PHOTOS = 400
"""Photos that serve as surfaces at most, since they stay in memory; of larger folders, drawn ones do."""

Report = Callable[[str], None]
"""Takes a line for the user, such as the name of a photo that cannot be used."""


class Source(Protocol):
    """A numbered collection of scenes."""

    def __len__(self) -> int:
        """How many scenes there are, counting those that turn out damaged or unsuitable."""

    def scene(self, index: int) -> Scene:
        """Scene ``index``; its key is ``index`` in six digits.

        Raises:
            DiffcamError: If it cannot be made: a damaged file, or a photo that is not in focus everywhere.
        """

    def describe(self) -> dict[str, Any]:
        """What the scenes depend on, for the manifest; equal descriptions mean equal scenes."""


@dataclass(frozen=True, kw_only=True)
class SourceOptions:
    """What a user says of the scenes to be made; fields that a source has no use for are not looked at.

    Args:
        source: A name of :data:`SOURCES`.
        folder: Of the photos; None for sources that need none.
        scenes: How many; None: all photos or prompts, or :data:`MADE_SCENES`.
        size: Height and width in pixels of made scenes; photos are shrunk to its shorter side.
        disparity: Folder of disparity maps with the photos' names.
        depth_model: Name or folder of the Depth Anything V2 that estimates disparity in place of maps.
        inverse: The maps hold depth (large is far).
        fill_holes: Fill pixels without a value from the farther side.
        threshold: Least sharpness everywhere in a photo; 0 takes every photo.
        surfaces: Whether layered and procedural scenes keep their surfaces whole.
        samples: Rays a pixel of ray-traced scenes.
        variants: Lens pictures of each ray-traced scene.
        prompts: File of prompts, one a line.
        generator: Name or folder of the FLUX that makes pictures of them.
        generator_lora: LoRA file for it.
        device: Where networks run.

    Examples:
        >>> source = SourceOptions(source="procedural", scenes=4, size=(64, 96)).open(print)
        >>> len(source), source.scene(3).source, source.scene(3).kind
        (4, 'layered', 'ai')
    """

    source: str
    folder: Path | None = None
    scenes: int | None = None
    size: tuple[int, int] = (512, 512)
    seed: int = 0
    disparity: Path | None = None
    depth_model: str | None = None
    inverse: bool = False
    fill_holes: bool = False
    threshold: float = DEFAULT_THRESHOLD
    surfaces: bool = False
    samples: int = 64
    variants: Renditions = 0
    prompts: Path | None = None
    generator: str = "black-forest-labs/FLUX.1-dev"
    generator_lora: str | None = None
    device: str = "cpu"

    def open(self, report: Report) -> Source:
        """The source.

        Raises:
            DiffcamError: If an option that it needs is missing or does not fit.
        """
        check_choice("source", self.source, SOURCES)
        return SOURCES[self.source](self, report)

    def photo_folder(self) -> Path:
        """The folder of photos; a DiffcamError if there is none."""
        if self.folder is None:
            raise DiffcamError(f"--source {self.source} needs a folder of photos")
        return self.folder


def _layered(options: SourceOptions, report: Report) -> Source:
    drawn = options.source == "procedural"
    textures = ProceduralTextures() if drawn else _photo_textures(options, report)
    kind, count = "ai" if drawn else "photo", options.scenes or MADE_SCENES
    return LayeredSource(textures, count, options.size, seed=options.seed, kind=kind, surfaces=options.surfaces)


def _raytraced(options: SourceOptions, report: Report) -> Source:
    if options.samples < 1:
        raise DiffcamError(f"--samples {options.samples}: at least one ray a pixel is needed")
    tracer = choose_variant()
    faster = "" if tracer == "llvm_ad_rgb" else " (llvm_ad_rgb is faster: name an LLVM library in DRJIT_LIBLLVM_PATH)"
    report(f"ray tracing with Mitsuba's {tracer}{faster}")
    return RaytracedSource(
        ProceduralTextures() if options.folder is None else _photo_textures(options, report),
        options.scenes or MADE_SCENES,
        tracer,
        size=options.size,
        seed=options.seed,
        renditions=options.variants,
        samples=options.samples,
    )


def _photo_textures(options: SourceOptions, report: Report) -> PhotoFolder:
    """The folder's photos as surfaces; those that cannot be used are named."""
    folder = options.photo_folder()
    paths, damaged = check_photos(list_photos(folder))
    for reason in damaged:
        report(f"left out: {reason}")
    if not paths:
        raise DiffcamError(f"{folder}: none of its photos can be used; the lines above say why")
    if len(paths) > TEXTURE_PHOTOS:
        report(f"{folder}: {TEXTURE_PHOTOS} of {len(paths)} photos are drawn by the seed")
        order = Draws("photos", options.seed).uniforms((len(paths),)).argsort()
        paths = tuple(sorted(paths[number] for number in order[:TEXTURE_PHOTOS]))
    return PhotoFolder(folder, paths, 2 * min(options.size))


def _photos(options: SourceOptions, _report: Report) -> Source:
    folder, kind = options.photo_folder(), "ai" if options.source == "ai" else "photo"
    paths = tuple(list_photos(folder)[: options.scenes])
    return PhotoSource(folder, paths, _development(options, options.source, kind))


def _bursts(options: SourceOptions, _report: Report) -> Source:
    if options.folder is None:
        raise DiffcamError(f"--source {options.source} needs the folder that holds bursts and results_DATE")
    paths = merged_results(options.folder)[: options.scenes]
    return PhotoSource(options.folder, paths, _development(options, "phone", "photo"), layout="bursts")


def _generated(options: SourceOptions, _report: Report) -> Source:
    from diffcam.pretrained.text_to_image import FluxPhotographer

    if options.prompts is None:
        raise DiffcamError("--source flux needs --prompts FILE, one prompt a line")
    if any(side % 16 for side in options.size):
        raise DiffcamError(f"--size {options.size[0]}x{options.size[1]}: --source flux makes multiples of 16")
    prompts, development = read_prompts(options.prompts), _development(options, "ai", "ai")
    photographer = FluxPhotographer(options.generator, options.generator_lora, device=options.device)
    count, size, seed = options.scenes or len(prompts), options.size, options.seed
    return GeneratedSource(prompts, count, photographer, development=development, size=size, seed=seed)


def _development(options: SourceOptions, source: str, kind: str) -> Development:
    """Maps or an estimator for the photos, whichever is named, and the settings that go with them."""
    from diffcam.pretrained.depth import DepthAnything

    disparity: DisparityProvider
    if options.depth_model is not None and options.disparity is None:
        disparity = EstimatedDisparity(DepthAnything(options.depth_model, options.device))
    elif options.disparity is not None and options.depth_model is None and options.folder is not None:
        if not options.disparity.is_dir():
            raise DiffcamError(f"--disparity {options.disparity}: no such folder")
        read = {"inverse": options.inverse, "fill_holes": options.fill_holes}
        disparity = DisparityFolder(options.folder, options.disparity, **read)
    else:
        ways = "--disparity FOLDER of maps, or --depth-model NAME"
        raise DiffcamError(f"--source {options.source} needs disparity: {ways}")
    return Development(disparity, short_side=min(options.size), threshold=options.threshold, source=source, kind=kind)


SOURCES: dict[str, Callable[[SourceOptions, Report], Source]] = {
    "layered": _layered,
    "procedural": _layered,
    "raytraced": _raytraced,
    "camera": _photos,
    "phone": _photos,
    "ai": _photos,
    "hdrplus": _bursts,
    "flux": _generated,
}
"""The sources by name: from the options, and a function that takes lines for the user, to a source."""
