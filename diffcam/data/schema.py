"""Scenes, their renditions and benchmark samples, and their encoding as the members of a tar shard.

Members of the scene with key ``000017``: ``000017.image.jpg`` (or ``.png``), ``000017.disparity.png`` (16 bit),
``000017.json``, and, for stored variants, ``000017.v000.jpg``, ``000017.v001.jpg``, ...
"""

from __future__ import annotations

import io
import json
import math
import re
import struct
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from diffcam.camera import Aperture, Camera
from diffcam.errors import DiffcamError, first_line
from diffcam.grid import SUBTASKS
from diffcam.photo.pixels import from_picture, to_picture

SCHEMA_VERSION = 1
"""Version of the JSON record; a shard of another one is refused."""

IMAGE_FORMATS = ("jpg", "png")
"""Suffixes of image members."""

MAX_PIXELS = 64_000_000
"""Most pixels of a member; larger ones are refused before their pixels are decoded. Chosen."""

_KEY = re.compile(r"[A-Za-z0-9_/-]+")
"""What a scene's key may consist of."""


@dataclass(frozen=True)
class Variant:
    """One rendition of a scene.

    Args:
        camera: Focus point and level of the rendition.
        focus_disparity: Disparity in [0, 1] of the plane in focus.
        image: ``(3, H, W)`` display values in [0, 1]; None: not stored, rendered when needed.

    Raises:
        ValueError: If the focus disparity is outside [0, 1].

    Examples:
        >>> Variant(Camera((0.5, 0.5), 8), focus_disparity=0.25).image is None  # rendered when it is asked for
        True
    """

    camera: Camera
    focus_disparity: float
    image: Tensor | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.focus_disparity) and 0.0 <= self.focus_disparity <= 1.0):
            raise ValueError(f"focus_disparity must lie in [0, 1], got {self.focus_disparity}")


@dataclass(frozen=True)
class Sample:
    """One benchmark sample: from one rendition of a scene to another.

    Args:
        subtask: ``refocus``, ``add_bokeh`` or ``remove_bokeh``.
        reference: Index into the scene's variants; None: the all-in-focus original.
        target: As ``reference``.
        camera: Focus point and level that the model is asked for.

    Raises:
        ValueError: If the sub-task is unknown, or an index is not an integer.

    Examples:
        >>> Sample("add_bokeh", reference=None, target=0, camera=Camera((0.5, 0.5), 8)).subtask
        'add_bokeh'
    """

    subtask: str
    reference: int | None
    target: int | None
    camera: Camera

    def __post_init__(self) -> None:
        if self.subtask not in SUBTASKS:
            raise ValueError(f"subtask must be one of {', '.join(SUBTASKS)}, got {self.subtask!r}")
        for index in (self.reference, self.target):
            if index is not None and not isinstance(index, int):
                raise ValueError(f"a sample names its variants by index, got {index!r}")


@dataclass(frozen=True)
class Scene:
    """An all-in-focus photograph with its disparity.

    Args:
        key: Name inside the shard: letters, digits, ``_``, ``-`` and ``/``.
        image: All-in-focus, ``(3, H, W)`` in [0, 1].
        disparity: ``(1, H, W)`` in [0, 1], 0 farthest, 1 nearest.
        source: Where it comes from, such as ``camera``, ``phone``, ``ai``, ``layered``, ``raytraced``.
        kind: Side of the paper's schedule from photos to AI pictures (section 3.3) on which the scene counts:
            ``photo`` for a camera's pixels, also of layered scenes cut out of photos; ``ai`` for what no camera took
            (generated, procedural, ray-traced), which lacks the artifacts for which the paper leaves photos.
        variants: Renditions, stored or only described.
        samples: Benchmark samples.
        metadata: Licence, attribution, seed, ...: anything that JSON can hold.

    Raises:
        ValueError: If a shape, a range or an index is wrong.

    Examples:
        >>> scene = Scene("000000", torch.rand(3, 48, 64), torch.rand(1, 48, 64), source="camera", kind="photo")
        >>> len(scene.variants), len(scene.samples)
        (0, 0)
    """

    key: str
    image: Tensor
    disparity: Tensor
    source: str
    kind: str
    variants: tuple[Variant, ...] = ()
    samples: tuple[Sample, ...] = ()
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _KEY.fullmatch(self.key):
            raise ValueError(f"scene key {self.key!r} must be letters, digits, '_', '-' or '/'")
        for name, value, channels in (("image", self.image, 3), ("disparity", self.disparity, 1)):
            if value.ndim != 3 or value.shape[0] != channels:
                raise ValueError(f"scene {self.key}: {name} must be ({channels}, H, W), got {tuple(value.shape)}")
            if value.numel() == 0:
                raise ValueError(f"scene {self.key}: {name} is empty")
            low, high = (float(bound) for bound in torch.aminmax(value))  # NaN reaches both and fails the comparison
            if not (low >= 0.0 and high <= 1.0):
                raise ValueError(f"scene {self.key}: {name} must be finite and lie in [0, 1], got {low:g} to {high:g}")
        sizes = [self.disparity.shape[1:], *(v.image.shape[1:] for v in self.variants if v.image is not None)]
        if any(size != self.image.shape[1:] for size in sizes):
            raise ValueError(f"scene {self.key}: image, disparity and variants must have one size")
        for sample in self.samples:
            for index in (sample.reference, sample.target):
                if index is not None and not 0 <= index < len(self.variants):
                    raise ValueError(f"scene {self.key}: a sample names variant {index} of {len(self.variants)}")


def encode_scene(scene: Scene, image_format: str = "jpg", quality: int = 95) -> dict[str, bytes]:
    """Tar members of one scene, by name; equal scenes give equal bytes.

    Args:
        scene: What to write.
        image_format: ``jpg`` (4:4:4) or ``png``, of the image and the stored variants.
        quality: JPEG quality, 1 to 100.

    Raises:
        ValueError: If the format is unknown.

    Examples:
        >>> scene = Scene("000000", torch.rand(3, 48, 64), torch.rand(1, 48, 64), source="camera", kind="photo")
        >>> list(encode_scene(scene))
        ['000000.disparity.png', '000000.image.jpg', '000000.json']
    """
    if image_format not in IMAGE_FORMATS:
        raise ValueError(f"image_format must be one of {', '.join(IMAGE_FORMATS)}, got {image_format!r}")
    images = {"image": scene.image} | {
        f"v{index:03d}": variant.image for index, variant in enumerate(scene.variants) if variant.image is not None
    }
    options = {"format": "JPEG", "quality": quality, "subsampling": 0} if image_format == "jpg" else {"format": "PNG"}
    members = {f"{scene.key}.{name}.{image_format}": _encode(to_picture(x), **options) for name, x in images.items()}
    levels = np.rint(scene.disparity[0].detach().cpu().double().numpy() * 65535).astype(np.uint16)
    members[f"{scene.key}.disparity.png"] = _encode(Image.fromarray(levels), format="PNG")
    record = {
        "version": SCHEMA_VERSION,
        "source": scene.source,
        "kind": scene.kind,
        "variants": [{"camera": asdict(v.camera), "focus_disparity": float(v.focus_disparity)} for v in scene.variants],
        "samples": [asdict(sample) for sample in scene.samples],
        "metadata": dict(scene.metadata),
    }
    members[f"{scene.key}.json"] = json.dumps(record, indent=1, sort_keys=True, allow_nan=False).encode()
    return dict(sorted(members.items()))


def decode_scene(key: str, members: Mapping[str, bytes], *, variant_images: bool = True) -> Scene:
    """Read and check one scene.

    Args:
        key: The scene's key.
        members: Bytes by member name; a lazy mapping is read only where needed.
        variant_images: Whether to decode stored variants; without, :func:`decode_variant` reads single ones.

    Raises:
        DiffcamError: If a member is missing or wrong; the message names it.

    Examples:
        >>> scene = Scene("000000", torch.rand(3, 48, 64), torch.rand(1, 48, 64), source="camera", kind="photo")
        >>> decode_scene("000000", encode_scene(scene)).image.shape
        torch.Size([3, 48, 64])
    """
    record = decode_record(key, members)
    try:
        variants = tuple(
            Variant(
                _camera(entry["camera"]),
                float(entry["focus_disparity"]),
                decode_variant(key, members, index) if variant_images else None,
            )
            for index, entry in enumerate(record["variants"])
        )
        samples = tuple(
            Sample(s["subtask"], s["reference"], s["target"], _camera(s["camera"])) for s in record["samples"]
        )
    except (KeyError, TypeError, ValueError) as error:
        reason = f"the field {error} is missing" if isinstance(error, KeyError) else str(error)
        raise DiffcamError(f"{key}.json: not a scene record: {reason}") from error
    image = _decode_image(key, "image", members)
    name = f"{key}.disparity.png"
    picture = _open_image(name, members)
    if not picture.mode.startswith("I"):
        raise DiffcamError(f"{name}: must be a 16-bit grey PNG, got {picture.mode}")
    disparity = torch.from_numpy(np.array(picture).astype(np.float32))[None].div_(65535)
    try:
        return Scene(key, image, disparity, record["source"], record["kind"], variants, samples, record["metadata"])
    except ValueError as error:
        raise DiffcamError(str(error)) from error


def decode_record(key: str, members: Mapping[str, bytes]) -> dict[str, Any]:
    """The scene's JSON record with its outermost fields checked; no pixel is decoded."""
    name = f"{key}.json"
    try:
        record = json.loads(_member(name, members))
    except ValueError as error:
        raise DiffcamError(f"{name}: not JSON ({error})") from error
    if not isinstance(record, dict) or record.get("version") != SCHEMA_VERSION:
        raise DiffcamError(f"{name}: not a scene record of version {SCHEMA_VERSION}; write the shard again")
    types = {"source": str, "kind": str, "variants": list, "samples": list, "metadata": dict}
    for entry, expected in types.items():
        if not isinstance(record.get(entry), expected):
            raise DiffcamError(f"{name}: the field {entry!r} is missing or not a {expected.__name__}")
    return record


def decode_variant(key: str, members: Mapping[str, bytes], index: int) -> Tensor | None:
    """Stored image ``(3, H, W)`` of one variant, or None where it is only described."""
    if not any(f"{key}.v{index:03d}.{extension}" in members for extension in IMAGE_FORMATS):
        return None
    return _decode_image(key, f"v{index:03d}", members)


def _camera(record: Mapping[str, Any]) -> Camera:
    x, y = record["focus"]
    return Camera((x, y), record["bokeh"], Aperture(**record.get("aperture", {})))


def _member(name: str, members: Mapping[str, bytes]) -> bytes:
    if name not in members:
        raise DiffcamError(f"{name}: missing")
    return members[name]


def _encode(picture: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, **options)
    return buffer.getvalue()


def _open_image(name: str, members: Mapping[str, bytes]) -> Image.Image:
    data = _member(name, members)
    try:
        picture = Image.open(io.BytesIO(data), formats=("JPEG", "PNG"))
        if picture.width * picture.height > MAX_PIXELS:
            raise DiffcamError(f"{name}: {picture.width}x{picture.height} pixels, more than {MAX_PIXELS} are refused")
        picture.load()
    except UnidentifiedImageError as error:
        raise DiffcamError(f"{name}: not a whole image (neither JPEG nor PNG)") from error
    except (OSError, SyntaxError, ValueError, struct.error, zlib.error, Image.DecompressionBombError) as error:
        raise DiffcamError(f"{name}: not a whole image ({first_line(error)})") from error
    return picture


def _decode_image(key: str, stem: str, members: Mapping[str, bytes]) -> Tensor:
    """An image member in whichever format it has."""
    names = [f"{key}.{stem}.{extension}" for extension in IMAGE_FORMATS]
    name = next((name for name in names if name in members), names[0])
    picture = _open_image(name, members)
    if picture.mode != "RGB":
        raise DiffcamError(f"{name}: must be 8-bit RGB, got {picture.mode}")
    return from_picture(picture)
