"""Scenes as the members of a tar shard.

Members of the scene with key ``000017``: ``000017.image.jpg`` (or ``.png``), ``000017.disparity.png`` (16 bit),
``000017.json``, for stored variants ``000017.v000.jpg``, ``000017.v001.jpg``, ..., and for surfaces, from far to near,
``000017.s00.jpg``, ``000017.s00.coverage.png`` (8 bit) and ``000017.s00.disparity.png`` (16 bit).
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from diffcam.camera import Aperture, Camera
from diffcam.data.schema import Sample, Scene, Surface, Variant
from diffcam.errors import DiffcamError, first_line
from diffcam.photo.pixels import from_picture, to_picture

SCHEMA_VERSION = 1
"""Version of the JSON record; a shard of another one is refused."""

IMAGE_FORMATS = ("jpg", "png")
"""Suffixes of image members."""

MAX_PIXELS = 64_000_000
"""Most pixels of a member; larger ones are refused before their pixels are decoded. Chosen."""


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
    images |= {f"s{index:02d}": surface.image for index, surface in enumerate(scene.surfaces)}
    options = {"format": "JPEG", "quality": quality, "subsampling": 0} if image_format == "jpg" else {"format": "PNG"}
    members = {f"{scene.key}.{name}.{image_format}": _encode(to_picture(x), **options) for name, x in images.items()}
    members[f"{scene.key}.disparity.png"] = _encode_levels(scene.disparity, np.uint16)
    for index, surface in enumerate(scene.surfaces):
        members[f"{scene.key}.s{index:02d}.coverage.png"] = _encode_levels(surface.coverage, np.uint8)
        members[f"{scene.key}.s{index:02d}.disparity.png"] = _encode_levels(surface.disparity, np.uint16)
    record = {
        "version": SCHEMA_VERSION,
        "source": scene.source,
        "kind": scene.kind,
        "variants": [{"camera": asdict(v.camera), "focus_disparity": float(v.focus_disparity)} for v in scene.variants],
        "samples": [asdict(sample) for sample in scene.samples],
        "metadata": dict(scene.metadata),
    }
    if scene.surfaces:
        record["surfaces"] = len(scene.surfaces)
    members[f"{scene.key}.json"] = json.dumps(record, indent=1, sort_keys=True, allow_nan=False).encode()
    return dict(sorted(members.items()))


def decode_scene(
    key: str, members: Mapping[str, bytes], *, variant_images: bool = True, surfaces: bool = True
) -> Scene:
    """Read and check one scene.

    Args:
        key: The scene's key.
        members: Bytes by member name; a lazy mapping is read only where needed.
        variant_images: Whether to decode stored variants; without, :func:`decode_variant` reads single ones.
        surfaces: Whether to decode surfaces.

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
    disparity = _decode_levels(f"{key}.disparity.png", members, 16)
    stems = [f"s{index:02d}" for index in range(record.get("surfaces", 0) if surfaces else 0)]
    try:
        whole = tuple(
            Surface(
                _decode_image(key, stem, members),
                _decode_levels(f"{key}.{stem}.coverage.png", members, 8),
                _decode_levels(f"{key}.{stem}.disparity.png", members, 16),
            )
            for stem in stems
        )
        parts = variants, samples, record["metadata"], whole
        return Scene(key, image, disparity, record["source"], record["kind"], *parts)
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


def _encode_levels(values_1HW: Tensor, bits: type[np.uint8] | type[np.uint16]) -> bytes:
    """Values in [0, 1] as a grey PNG."""
    levels = np.rint(values_1HW[0].detach().cpu().double().numpy() * np.iinfo(bits).max).astype(bits)
    return _encode(Image.fromarray(levels), format="PNG")


def _decode_levels(name: str, members: Mapping[str, bytes], bits: int) -> Tensor:
    """What :func:`_encode_levels` wrote, ``(1, H, W)``."""
    picture = _open_image(name, members)
    if not picture.mode.startswith("I" if bits == 16 else "L"):
        raise DiffcamError(f"{name}: must be a {bits}-bit grey PNG, got {picture.mode}")
    return torch.from_numpy(np.array(picture).astype(np.float32))[None].div_(2**bits - 1)


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
