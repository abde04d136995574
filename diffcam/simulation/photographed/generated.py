"""AI scenes: photographs made from prompts, each with its own recorded seed."""

from __future__ import annotations

import hashlib
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffcam.data.schema import Scene
from diffcam.errors import DiffcamError
from diffcam.simulation.photographed.development import Development

if TYPE_CHECKING:
    from diffcam.pretrained.text_to_image import FluxPhotographer


def read_prompts(path: Path) -> tuple[str, ...]:
    """Prompts from a UTF-8 file, one a line; empty lines and lines that begin with # are passed over.

    Raises:
        DiffcamError: If the file cannot be read or holds none.
    """
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DiffcamError(f"{path}: cannot be read as prompts ({error}); write one a line, in UTF-8") from error
    prompts = tuple(line for line in lines if line and not line.startswith("#"))
    if not prompts:
        raise DiffcamError(f"{path}: holds no prompt; write one a line")
    return prompts


@dataclass(frozen=True)
class GeneratedSource:
    """Pictures of prompts, which are gone through again with new seeds when there are fewer than scenes.

    Args:
        development: What makes a picture a scene; with a threshold, pictures with blur are left out.
        size: Height and width in pixels, multiples of 16.
        seed: Picture ``i`` has the seed ``seed * 1_000_000 + i``.
    """

    prompts: tuple[str, ...]
    count: int
    photographer: FluxPhotographer
    _: KW_ONLY
    development: Development
    size: tuple[int, int] = (512, 512)
    seed: int = 0

    def __len__(self) -> int:
        return self.count

    def scene(self, index: int) -> Scene:
        """Picture ``index``, if it is in focus everywhere, and its disparity."""
        prompt, seed = self.prompts[index % len(self.prompts)], self.seed * 1_000_000 + index
        image = self.photographer(prompt, seed, self.size)
        metadata = {"prompt": prompt, "seed": seed, "generator": self.photographer.describe()}
        return self.development.scene(index, Path(f"picture {index} ({prompt[:40]!r})"), image, metadata=metadata)

    def describe(self) -> dict[str, Any]:
        """The prompts' hash, the generator and the settings."""
        return {
            "type": "generated",
            "prompts": hashlib.sha256("\n".join(self.prompts).encode()).hexdigest(),
            "size": list(self.size),
            "seed": self.seed,
            "generator": self.photographer.describe(),
            **self.development.describe(),
        }
