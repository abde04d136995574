"""Ray makes the same shards to the byte, also when a node is killed in the middle."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from diffcam.errors import DiffcamError
from diffcam.simulation.jobs.engines import LocalEngine, RayEngine
from diffcam.simulation.jobs.writer import Rendering, ShardJob, make_shard
from diffcam.simulation.layered.scenes import LayeredSource
from diffcam.simulation.textures.photos import PhotoFolder, check_photos, list_photos

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def cluster() -> Iterator[object]:
    """A head without cores and two nodes of one core, connected to."""
    ray = pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 80_000_000})
    for _ in range(2):
        cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
    ray.init(address=cluster.address, log_to_driver=False)
    cluster.wait_for_nodes()
    yield cluster
    ray.shutdown()
    cluster.shutdown()


def jobs(photo_folder: Path, output: Path) -> list[ShardJob]:
    paths, _ = check_photos(list_photos(photo_folder))
    source = LayeredSource(PhotoFolder(photo_folder, paths, 192), count=40, size=(96, 96))
    return [
        ShardJob(output / f"a-{start:06d}.tar", source, Rendering(variants=2), start=start, stop=start + 2)
        for start in range(0, 40, 2)
    ]


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(folder.glob("*.tar"))}


def test_a_killed_node_loses_nothing_and_bytes_are_the_same(cluster, photo_folder: Path, tmp_path: Path) -> None:
    expected = {
        record.start: record for record in LocalEngine(1).run(make_shard, jobs(photo_folder, tmp_path / "local"))
    }
    made = {}
    for record in RayEngine().run(make_shard, jobs(photo_folder, tmp_path / "ray")):
        made[record.start] = record
        if len(made) == 4:
            cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
    assert made == expected
    assert hashes(tmp_path / "ray") == hashes(tmp_path / "local")
    assert len(hashes(tmp_path / "ray")) == 20


def test_no_cluster_is_one_line(monkeypatch) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with pytest.raises(DiffcamError, match=r"--address 127\.0\.0\.1:1: no Ray cluster"):
        list(RayEngine("127.0.0.1:1").run(len, ["job"]))
