"""The shards in ``data_shards`` are whole, are what their manifests say, and hold what training and test need."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from diffcam.data.shards import read_shard

SHARDS = Path(__file__).parents[2] / "data_shards"


@pytest.mark.parametrize("manifest", sorted(SHARDS.glob("*.json")), ids=lambda path: path.stem)
def test_manifest_matches_the_files(manifest: Path) -> None:
    content = json.loads(manifest.read_text())
    assert content["skipped"] == 0
    for shard in content["shards"]:
        assert hashlib.sha256((SHARDS / shard["name"]).read_bytes()).hexdigest() == shard["sha256"]
    assert sum(shard["scenes"] for shard in content["shards"]) == content["counts"]["scenes"]


def test_every_shard_has_a_manifest_and_all_are_small() -> None:
    shards = sorted(SHARDS.glob("*.tar"))
    assert {path.name.rsplit("-", 1)[0] for path in shards} == {path.stem for path in SHARDS.glob("*.json")}
    benchmark = sum(path.stat().st_size for path in shards if path.name.startswith("open-benchmark"))
    assert benchmark < 8_000_000
    assert sum(path.stat().st_size for path in shards) - benchmark < 6_000_000


@pytest.mark.parametrize("split", ["train", "val", "heldout"])
def test_both_kinds_are_there(split: str) -> None:
    scenes = [scene for path in sorted(SHARDS.glob(f"{split}-*.tar")) for scene in read_shard(path)]
    assert {scene.kind for scene in scenes} == {"photo", "ai"}
    assert all(min(scene.image.shape[1:]) == 384 for scene in scenes)
    assert all(scene.disparity.min() == 0 and scene.disparity.max() == 1 for scene in scenes)
    assert {len(scene.samples) for scene in scenes} == ({10} if split == "heldout" else {0})
    credited = [bool(scene.metadata.get("attribution")) for scene in scenes]
    assert credited == [scene.kind == "photo" for scene in scenes]
