from __future__ import annotations

import io
import json
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from diffcam.camera import Aperture, Camera
from diffcam.data import Scene, Surface, Variant, decode_scene, encode_scene
from diffcam.data.encoding import decode_variant
from diffcam.errors import DiffcamError


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return buffer.getvalue()


def members_of(make_scene, **changes: bytes | None) -> dict[str, bytes]:
    """Members of a scene, some replaced or (None) taken away; ``_`` stands for the dot in a name."""
    members = encode_scene(make_scene("a", variants=1, samples=False), image_format="png")
    for name, data in changes.items():
        del members[f"a.{name.replace('_', '.')}"]
        if data is not None:
            members[f"a.{name.replace('_', '.')}"] = data
    return members


def test_round_trip_keeps_every_field(make_scene) -> None:
    scene = make_scene("shelf/07", kind="ai", variants=3, samples=True)
    bladed = Variant(Camera((0.25, 0.75), 3.5, Aperture(6, 0.2, 0.5)), 0.125)
    scene = Scene(
        scene.key,
        scene.image,
        scene.disparity,
        "raytraced",
        "ai",
        (*scene.variants, bladed),
        scene.samples,
        {"n": [1, "é"]},
    )
    back = decode_scene("shelf/07", encode_scene(scene, image_format="png"))
    assert (back.source, back.kind, back.samples, back.metadata) == ("raytraced", "ai", scene.samples, {"n": [1, "é"]})
    assert [v.camera for v in back.variants] == [v.camera for v in scene.variants]
    assert [v.focus_disparity for v in back.variants] == [0.0, 0.5, 1.0, 0.125]
    assert [v.image is None for v in back.variants] == [False, False, False, True]
    torch.testing.assert_close(back.variants[2].image, scene.variants[2].image, atol=1e-6, rtol=0)
    torch.testing.assert_close(back.image, scene.image, atol=0.5001 / 255, rtol=0)
    torch.testing.assert_close(back.disparity, scene.disparity, atol=0.5001 / 65535, rtol=0)


def test_disparity_is_stored_in_sixteen_bits() -> None:
    disparity = torch.arange(65536, dtype=torch.float64).reshape(1, 256, 256).div(65535).float()
    scene = Scene("a", torch.zeros(3, 256, 256), disparity, "s", "photo")
    members = encode_scene(scene)
    assert Image.open(io.BytesIO(members["a.disparity.png"])).mode == "I;16"
    assert torch.equal(decode_scene("a", members).disparity, disparity)


def test_jpeg_is_close_to_the_image() -> None:
    y, x = torch.meshgrid(torch.linspace(0, 1, 64), torch.linspace(0, 1, 64), indexing="ij")
    scene = Scene("a", torch.stack([x, y, 1 - x]), x[None], "s", "photo")
    members = encode_scene(scene, quality=95)
    assert sorted(members) == ["a.disparity.png", "a.image.jpg", "a.json"]
    assert (decode_scene("a", members).image - scene.image).abs().mean() < 0.01


def test_equal_scenes_give_equal_bytes(make_scene) -> None:
    assert encode_scene(make_scene("a", variants=2)) == encode_scene(make_scene("a", variants=2))


def test_unknown_image_formats_are_refused() -> None:
    with pytest.raises(ValueError, match="image_format"):
        encode_scene(Scene("a", torch.zeros(3, 4, 4), torch.zeros(1, 4, 4), "s", "photo"), image_format="webp")


def test_single_variants_are_decoded_alone(make_scene) -> None:
    members = encode_scene(make_scene("a", variants=2), image_format="png")
    assert all(v.image is None for v in decode_scene("a", members, variant_images=False).variants)
    assert torch.equal(decode_variant("a", members, 1), torch.full((3, 24, 32), 2 / 255))
    assert decode_variant("a", members, 2) is None


OUTSIDE = {"camera": {"focus": [2, 0], "bokeh": 1}, "focus_disparity": 0}
CAMERA = {"focus": [0.5, 0.5], "bokeh": 1}
UNKNOWN = {"subtask": "refocus", "reference": 4, "target": None, "camera": CAMERA}
RECORD = {"version": 1, "source": "s", "kind": "photo", "variants": [], "samples": [], "metadata": {}}


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("image_png", None, "a.image.jpg: missing"),
        ("image_png", b"no picture", "a.image.png: not a whole image"),
        ("image_png", b"", "a.image.png: not a whole image"),
        ("image_png", png(np.zeros((24, 32, 3), np.uint8))[:50], "a.image.png: not a whole image"),
        ("image_png", png(np.zeros((24, 32), np.uint8)), "a.image.png: must be 8-bit RGB, got L"),
        ("image_png", png(np.zeros((24, 32, 4), np.uint8)), "a.image.png: must be 8-bit RGB, got RGBA"),
        ("v000_png", b"GIF89a", "a.v000.png: not a whole image"),
        ("disparity_png", None, "a.disparity.png: missing"),
        ("disparity_png", png(np.zeros((24, 32), np.uint8)), "a.disparity.png: must be a 16-bit grey PNG, got L"),
        ("disparity_png", png(np.zeros((24, 31), np.uint16)), "one size"),
        ("json", None, "a.json: missing"),
        ("json", b"{", "a.json: not JSON"),
        ("json", b"\xff\xfe", "a.json: not JSON"),
        ("json", b"[]", "a.json: not a scene record of version 1"),
        ("json", json.dumps(RECORD | {"version": 2}).encode(), "version 1"),
        ("json", json.dumps(RECORD | {"kind": 3}).encode(), "'kind'"),
        ("json", json.dumps(RECORD | {"variants": [{"camera": CAMERA}]}).encode(), "'focus_disparity' is missing"),
        ("json", json.dumps(RECORD | {"variants": [[]]}).encode(), "not a scene record"),
        ("json", json.dumps(RECORD | {"variants": [OUTSIDE]}).encode(), "focus must lie inside"),
        ("json", json.dumps(RECORD | {"samples": [UNKNOWN]}).encode(), "variant 4"),
    ],
)  # fmt: skip
def test_errors_name_damaged_members(make_scene, name: str, data: bytes | None, words: str) -> None:
    with pytest.raises(DiffcamError, match=words) as caught:
        decode_scene("a", members_of(make_scene, **{name: data}))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("side", "words"), [(20000, "a.image.png: not a whole image"), (9000, "9000x9000 pixels")])
def test_a_header_that_claims_a_huge_image_is_refused_unread(make_scene, side: int, words: str) -> None:
    fields = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    header = struct.pack(">I", len(fields)) + b"IHDR" + fields + struct.pack(">I", zlib.crc32(b"IHDR" + fields))
    data = b"\x89PNG\r\n\x1a\n" + header + struct.pack(">I", 1000) + b"IDAT" + b"\0" * 1000
    with pytest.raises(DiffcamError, match=words):
        decode_scene("a", members_of(make_scene, image_png=data))


def test_surfaces_come_back() -> None:
    generator = torch.Generator().manual_seed(0)
    surfaces = tuple(
        Surface(
            torch.rand(3, 24, 32, generator=generator),
            torch.rand(1, 24, 32, generator=generator),
            torch.rand(1, 24, 32, generator=generator),
        )
        for _ in range(2)
    )
    scene = Scene("a", surfaces[1].image, surfaces[1].disparity, "layered", "ai", surfaces=surfaces)
    members = encode_scene(scene, "png")
    back = decode_scene("a", members).surfaces
    assert len(back) == 2
    for surface, found in zip(surfaces, back, strict=True):
        torch.testing.assert_close(found.image, surface.image, atol=0.501 / 255, rtol=0)
        torch.testing.assert_close(found.coverage, surface.coverage, atol=0.501 / 255, rtol=0)
        torch.testing.assert_close(found.disparity, surface.disparity, atol=0.501 / 65535, rtol=0)
    assert decode_scene("a", members, surfaces=False).surfaces == ()
    with pytest.raises(DiffcamError, match=r"a\.s01\.coverage\.png: missing"):
        decode_scene("a", {name: data for name, data in members.items() if name != "a.s01.coverage.png"})
