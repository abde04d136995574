"""Phone photos as the HDR+ burst set lays them out.

``bursts/ID/payload_N000.dng ...`` are the raw frames of a burst, ``results_DATE/ID/final.jpg`` what the phone's
pipeline made of them; there may be several dates. The merged result is a photo in display values, and is what scenes
are made of; of the frames only their number is kept, since they are raw, noisy and no display values.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from diffcam.data.schema import Scene
from diffcam.errors import DiffcamError
from diffcam.files import fingerprint
from diffcam.photo import open_photo
from diffcam.simulation.photographed.development import Development


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


@dataclass(frozen=True)
class BurstSource:
    """Merged bursts with their disparity.

    Args:
        root: Folder that holds ``bursts`` and ``results_DATE``.
        paths: The merged photos.
        development: What makes a photo a scene.
    """

    root: Path
    paths: tuple[Path, ...]
    development: Development

    def __len__(self) -> int:
        return len(self.paths)

    def scene(self, index: int) -> Scene:
        """The merged photo of burst ``index``, if it is in focus everywhere, and its disparity."""
        path = self.paths[index]
        frames = len(list((self.root / "bursts" / path.parent.name).glob("payload_N*.dng")))
        name = path.relative_to(self.root).as_posix()
        metadata = {"photo": name, "burst": path.parent.name, "frames": frames}
        return self.development.scene(index, path, open_photo(path, name).tensor(), metadata)

    def describe(self) -> dict[str, Any]:
        """Names and sizes of the merged photos, and the settings."""
        return {"type": "bursts", "photos": fingerprint(self.root, self.paths), **self.development.describe()}
