"""What the benchmark compares: one small interface, and the methods that need nothing but diffcam."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from diffcam.camera import focus_pixel
from diffcam.data.batch import RefocusSample
from diffcam.data.perturbation import Perturbation
from diffcam.data.randomness import derived_generator
from diffcam.data.rendering import BokehRenderer
from diffcam.errors import DiffcamError
from diffcam.files import files_sha256
from diffcam.models.checkpoint import packaged
from diffcam.photo import Photo
from diffcam.photo.pixels import to_picture
from diffcam.pipeline import RefocusPipeline
from diffcam.session import PhotoSession


class NotAvailableError(DiffcamError):
    """A method cannot run at all (no weights, no key); the tables print this message in place of its row."""


class Method(ABC):
    """One row of the benchmark: from a sample's reference, disparity and camera to an output.

    A method may be sent to several processes; each calls :meth:`prepare` once and then the method for its samples.
    """

    note: str = ""
    """What a reader of the table must know about the row."""

    keeps_outputs: bool = True
    """Whether outputs are written to files: not where they cost nothing and lie in the benchmark already."""

    parallel: bool = True
    """Whether several processes may run the method at once."""

    without_effect: tuple[str, ...] = ()
    """Public attributes that no output depends on: results stay good when they change."""

    def prepare(self, folder: Path) -> None:
        """Load what the method needs; ``folder`` is its own in the results, for what it wants to keep.

        Raises:
            NotAvailableError: If the method cannot run.
        """

    def fingerprint(self) -> str:
        """Of the weights that outputs depend on: results of other weights are not taken for this method's."""
        return ""

    def selects(self, number: int, subtask: str) -> bool:
        """Whether the method takes part in a sample; asked before anything is decoded."""
        return True

    @abstractmethod
    def __call__(self, sample: RefocusSample) -> Tensor:
        """Output ``(3, H, W)``, display values in [0, 1], of the reference's size.

        Raises:
            DiffcamError: If this one sample failed; the run goes on and the table says so.
        """

    def close(self) -> None:
        """Let go of what :meth:`prepare` took: processes, connections."""


class Copy(Method):
    """The reference as it is: what doing nothing scores.

    Examples:
        >>> sample = diffcam.benchmark.Edition(["data_shards/heldout-ai-*.tar"], resolution=64)[4]
        >>> f"{(Copy()(sample) - sample.targets[0]).abs().mean():.3f}"
        '0.014'
    """

    keeps_outputs = False

    def __call__(self, sample: RefocusSample) -> Tensor:
        """The reference."""
        return sample.reference


class GroundTruth(Method):
    """The target itself: the best score that there is."""

    keeps_outputs = False

    def __call__(self, sample: RefocusSample) -> Tensor:
        """The target."""
        return sample.targets[0]


class DepthRenderer(Method):
    """A bokeh renderer with the sample's disparity map: it can add blur, not take it away.

    Args:
        renderer: The renderer; None: that of the paper's data.
    """

    note = "made the ground truth of add bokeh from the exact disparity, but for ray-traced scenes"

    def __init__(self, renderer: BokehRenderer | None = None) -> None:
        self.renderer = renderer or BokehRenderer()

    def __call__(self, sample: RefocusSample) -> Tensor:
        """The reference, blurred as if it were in focus everywhere."""
        return render_target(self.renderer, sample.reference, sample)


@dataclass(eq=False)
class Refocuser(Method):
    """A diffcam model behind :class:`diffcam.pipeline.RefocusPipeline`.

    Args:
        source: A packaged name, a model folder, or a FLUX base.
        adapter: Adapter folder for a FLUX base.
        steps: Sampling steps; None: as many as the weights were made for.
        seed: Of the noise.
        device: Where it runs.
    """

    without_effect = ("device", "parallel")

    source: str = "diffcam-tiny"
    adapter: str | None = None
    steps: int | None = None
    seed: int = 0
    device: str = "cpu"

    def __post_init__(self) -> None:
        self.parallel = self.device == "cpu"  # several processes would crowd a GPU
        self._pipeline: RefocusPipeline | None = None
        self._opened: tuple[RefocusSample, PhotoSession] | None = None

    def fingerprint(self) -> str:
        """Of the model's folder, or of the adapter alone: a FLUX base is known by its name."""
        folder = Path(self.adapter) if self.adapter else packaged(self.source) or Path(self.source)
        return files_sha256(sorted([*folder.rglob("*.safetensors"), *folder.rglob("*.json")]))

    def prepare(self, folder: Path) -> None:
        """Load the pipeline."""
        try:
            self._pipeline = RefocusPipeline.from_pretrained(self.source, adapter=self.adapter)
        except DiffcamError as error:
            raise NotAvailableError(str(error)) from error
        self._pipeline.model.to(self.device)

    def __call__(self, sample: RefocusSample) -> Tensor:
        """The model's output."""
        assert self._pipeline is not None, "prepare() comes first"
        last, session = self._opened or (sample, None)
        same = torch.equal(last.reference, sample.reference) and torch.equal(last.disparity, sample.disparity)
        if session is None or not same:  # consecutive samples often share both
            session = self._pipeline.open(Photo.from_image(to_picture(sample.reference)), sample.disparity[0])
        self._opened = (sample, session)
        steps = self.steps or self._pipeline.settings.steps
        return session.images(session.latents(sample.cameras, steps, self.seed), sample.cameras, self.seed)[0]


class ImperfectDepth(Method):
    """Another method, given imperfect disparity (paper, tables 4 and 6).

    Args:
        method: The method.
        perturbation: Of the disparity; drawn as for ``--depth``, so that both ways give the same samples.
        seed: Of the perturbation.
    """

    without_effect = ("note", "keeps_outputs", "parallel")

    def __init__(self, method: Method, perturbation: Perturbation, seed: int = 0) -> None:
        self.method = method
        self.perturbation = perturbation
        self.seed = seed
        self.note = f"given imperfect disparity: {perturbation}"
        self.keeps_outputs = method.keeps_outputs
        self.parallel = method.parallel

    def fingerprint(self) -> str:
        """The method's."""
        return self.method.fingerprint()

    def prepare(self, folder: Path) -> None:
        """Load what the method needs."""
        self.method.prepare(folder)

    def selects(self, number: int, subtask: str) -> bool:
        """What the method selects."""
        return self.method.selects(number, subtask)

    def __call__(self, sample: RefocusSample) -> Tensor:
        """The method's output."""
        generator = derived_generator("benchmark", self.seed, sample.index)
        return self.method(replace(sample, disparity=self.perturbation(sample.disparity, generator)))

    def close(self) -> None:
        """Let go of what the method took."""
        self.method.close()


def render_target(renderer: BokehRenderer, image_3HW: Tensor, sample: RefocusSample) -> Tensor:
    """An image that counts as in focus everywhere, blurred as the sample's camera asks."""
    camera = sample.cameras[0]
    row, column = focus_pixel(camera.focus, *image_3HW.shape[1:])
    return renderer(image_3HW, sample.disparity, float(sample.disparity[0, row, column]), camera)
