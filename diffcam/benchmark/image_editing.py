"""A general image editor behind OpenAI's images API, prompted in words: the GPT-4o row (paper, tables 1 and 2)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from diffcam.benchmark.methods import Method, NotAvailableError
from diffcam.camera import Camera
from diffcam.data.batch import RefocusSample
from diffcam.errors import DiffcamError, first_line
from diffcam.photo.pixels import from_picture, to_picture

LEDGER = "spent.jsonl"
"""File in the method's folder that records the price of each answered request."""

SIZES = ((1024, 1024), (1536, 1024), (1024, 1536))
"""Widths and heights of the API's pictures, pixels (documentation of gpt-image-1)."""

STRENGTHS = ((5.0, "a slight"), (10.0, "a moderate"), (15.0, "a strong"), (float("inf"), "a very strong"))
"""Words for bokeh levels up to a limit, as the editor takes no number; chosen: quarters of the paper's 20 levels."""


@dataclass(eq=False)
class ImageEditing(Method):
    """Asks OpenAI's image editing to refocus, in words; only the key in ``OPENAI_API_KEY`` is needed.

    Every request that was answered is written to a ledger in the method's folder, so that the budget holds over all
    runs on that folder.

    Args:
        model: Name of the model.
        share: Share of the samples that are sent, the same ones in every run (paper: 5 %).
        budget: Most that may be spent, in US dollars.
        price: What one request costs, in US dollars.
        dry_run: Write the prompts to ``prompts.txt`` and send nothing; the note says what all would cost.
        base_url: Another server that speaks the API; None: ``OPENAI_BASE_URL`` if it is set, else OpenAI's.
        timeout: Seconds to wait for an answer.
    """

    parallel = False
    without_effect = ("share", "budget", "price", "dry_run", "timeout", "note")

    model: str = "gpt-image-1"
    share: float = 0.05
    budget: float = 5.0
    price: float = 0.04
    dry_run: bool = False
    base_url: str | None = None
    timeout: float = 180.0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share must lie in (0, 1], got {self.share}")
        if self.price < 0 or self.budget < 0:
            raise ValueError(f"price and budget must not be negative, got {self.price} and {self.budget}")
        self.base_url = self.base_url or os.environ.get("OPENAI_BASE_URL")
        server = f" at {self.base_url}" if self.base_url else ""
        self.note = self._described = f"{self.model}{server}, prompted in words, {self.share:.0%} of the samples"
        self._folder = Path()
        self._prompts: list[str] = []
        self._client: Any = None

    def prepare(self, folder: Path) -> None:
        """Make the client."""
        self._folder = folder
        if self.dry_run:
            self._prompts = []
            return
        try:
            import openai

            self._client = openai.OpenAI(base_url=self.base_url, timeout=self.timeout, max_retries=2)
        except ImportError as error:
            raise NotAvailableError(
                "image editing needs the openai client: pip install 'diffcam[baselines]'"
            ) from error
        except openai.OpenAIError as error:
            raise NotAvailableError(first_line(error)) from error

    def selects(self, number: int, subtask: str) -> bool:
        """A fixed share of the samples, whatever else is in the edition."""
        drawn = int.from_bytes(hashlib.sha256(f"image editing {number}".encode()).digest()[:8], "big")
        return drawn < self.share * 2**64

    def __call__(self, sample: RefocusSample) -> Tensor:
        """The editor's picture, brought to the reference's frame; a dry run counts as a failure."""
        text = prompt(sample.subtask, sample.cameras[0])
        if self.dry_run:
            self._prompts.append(f"{sample.index}\t{text}\n")
            raise DiffcamError("dry run: nothing was sent")
        spent = self.spent()
        if spent + self.price > self.budget + 1e-9:
            raise DiffcamError(f"the budget of {self.budget:g} USD is spent ({spent:g} USD); raise it to go on")
        import openai

        picture = to_picture(sample.reference)
        size = min(SIZES, key=lambda one: abs(one[0] / one[1] - picture.width / picture.height))
        padded, box = fit_frame(picture, size)
        file = io.BytesIO()
        padded.save(file, format="PNG")
        try:
            answer = self._client.images.edit(
                model=self.model,
                image=("reference.png", file.getvalue(), "image/png"),
                prompt=text,
                size=f"{size[0]}x{size[1]}",
            )
        except openai.OpenAIError as error:
            raise DiffcamError(f"the image editing API failed: {first_line(error)}") from error
        with open(self._folder / LEDGER, "a", encoding="utf-8") as ledger:
            ledger.write(json.dumps({"sample": sample.index, "price": self.price}) + "\n")
        try:
            edited = Image.open(io.BytesIO(base64.b64decode(answer.data[0].b64_json, validate=True)))
            inside = edited.convert("RGB").resize(size).crop(box)
            return from_picture(inside.resize(picture.size, Image.Resampling.LANCZOS))
        except (TypeError, IndexError, binascii.Error, UnidentifiedImageError, OSError) as error:
            raise DiffcamError(f"the image editing API answered without a picture ({type(error).__name__})") from error

    def close(self) -> None:
        """Of a dry run: write the prompts, and note what they would cost."""
        if self._prompts:
            (self._folder / "prompts.txt").write_text("".join(self._prompts), encoding="utf-8")
            count = len(self._prompts)
            cost = f"{count} request{'s' if count > 1 else ''}, {count * self.price:.2f} USD"
            self.note = f"{self._described}; dry run: {cost}"

    def spent(self) -> float:
        """US dollars that all runs on this folder have cost."""
        ledger = self._folder / LEDGER
        lines = ledger.read_text(encoding="utf-8").splitlines() if ledger.exists() else []
        return float(sum(json.loads(line)["price"] for line in lines))


def prompt(subtask: str, camera: Camera) -> str:
    """Instruction for a sub-task and camera: positions in percent, strengths in words."""
    keep = (
        "Keep composition, objects, colours, lighting and identity exactly as they are; "
        "change nothing but the depth of field."
    )
    if subtask == "remove_bokeh" or camera.bokeh == 0:
        return f"Remove all defocus blur from this photo: foreground and background must be equally sharp. {keep}"
    strength = next(words for limit, words in STRENGTHS if camera.bokeh <= limit)
    x, y = (round(100 * value) for value in camera.focus)
    place = f"the subject at {x}% of the width from the left and {y}% of the height from the top"
    if subtask == "add_bokeh":
        return f"Add {strength} background and foreground blur, as of a wide aperture focused on {place}. {keep}"
    return (
        f"Refocus this photo on {place}: make it perfectly sharp, and give everything nearer or farther "
        f"{strength} bokeh blur, whatever is sharp or blurred now. {keep}"
    )


def fit_frame(picture: Image.Image, size: tuple[int, int]) -> tuple[Image.Image, tuple[int, int, int, int]]:
    """Letterbox a picture into a frame of another aspect, bars in its mean colour; returns frame and box."""
    inside = ImageOps.contain(picture, size, Image.Resampling.LANCZOS)
    left, top = (size[0] - inside.width) // 2, (size[1] - inside.height) // 2
    frame = Image.new("RGB", size, picture.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0)))
    frame.paste(inside, (left, top))
    return frame, (left, top, left + inside.width, top + inside.height)
