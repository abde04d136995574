"""Scenes of photographs: any folder of them, or phone photos as the HDR+ burst set lays them out.

There, ``bursts/ID/payload_N000.dng ...`` are the raw frames of a burst, ``results_DATE/ID/final.jpg`` what the phone's
pipeline made of them; there may be several dates. The merged result is a photo in display values, and is what scenes
are made of; of the frames only their number is kept, since they are raw, noisy and no display values.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from diffcam.data.schema import Scene
from diffcam.errors import DiffcamError
from diffcam.files import fingerprint
from diffcam.photo import open_photo
from diffcam.simulation.photographed.development import Development


@dataclass(frozen=True)
class PhotoSource:
    """Photos with their disparity.

    Args:
        root: Folder that names are relative to; of bursts, the one that holds ``bursts`` and ``results_DATE``.
        paths: The photos; of bursts, the merged ones.
        layout: ``photos``, or ``bursts``, whose scenes record the burst and the number of its frames.
    """

    root: Path
    paths: tuple[Path, ...]
    development: Development
    layout: Literal["photos", "bursts"] = "photos"

    def __len__(self) -> int:
        return len(self.paths)

    def scene(self, index: int) -> Scene:
        """The photo, if it is in focus everywhere, and its disparity."""
        path = self.paths[index]
        name = path.relative_to(self.root).as_posix()
        metadata: dict[str, Any] = {"photo": name}
        if self.layout == "bursts":
            frames = (self.root / "bursts" / path.parent.name).glob("payload_N*.dng")
            metadata |= {"burst": path.parent.name, "frames": len(list(frames))}
        return self.development.scene(index, path, open_photo(path, name).tensor(), metadata=metadata)

    def describe(self) -> dict[str, Any]:
        """Names and sizes of the photos, and the settings."""
        return {"type": self.layout, "photos": fingerprint(self.root, self.paths), **self.development.describe()}


def merged_results(root: Path) -> tuple[Path, ...]:
    """The newest merged photo of each burst, in the order of the bursts' names.

    Raises:
        DiffcamError: If the folder is not laid out as the set is.
    """
    newest: dict[str, Path] = {}
    for path in sorted(root.glob("results_*/*/final.jpg")):  # dates sort as text: a later one replaces an earlier one
        newest[path.parent.name] = path
    if not newest:
        raise DiffcamError(f"{root}: no results_DATE/ID/final.jpg; name the folder that holds bursts and results_DATE")
    return tuple(newest[burst] for burst in sorted(newest))
