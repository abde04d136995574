"""Simulate through Ray on two local nodes, kill one in the middle, and compare the shards with one machine's.

Usage: python benchmarks/ray_recovery.py PHOTOS [--scenes 1000] [--variants 8] [--size 256]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from diffcam.simulation import LayeredSource, LocalEngine, PhotoFolder, RayEngine, Rendering, ShardJob, make_shard
from diffcam.simulation.textures.photos import check_photos, list_photos


def main() -> int:
    """Print what was made, how fast, and whether the bytes are the same; the exit status says the latter."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--scenes", type=int, default=1000)
    parser.add_argument("--variants", type=int, default=8)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--scenes-per-shard", type=int, default=20)
    args = parser.parse_args()
    folder = args.photos.resolve()
    paths, _ = check_photos(list_photos(folder))
    source = LayeredSource(PhotoFolder(folder, paths, 2 * args.size), args.scenes, (args.size, args.size))
    rendering, step = Rendering(variants=args.variants), args.scenes_per_shard

    def jobs(output: Path) -> list[ShardJob]:
        starts = range(0, args.scenes, step)
        return [
            ShardJob(
                output / f"scenes-{start:06d}.tar", source, rendering, start=start, stop=min(start + step, args.scenes)
            )
            for start in starts
        ]

    with tempfile.TemporaryDirectory() as temporary:
        began = time.perf_counter()
        expected = {record.name: record for record in LocalEngine(2).run(make_shard, jobs(Path(temporary) / "local"))}
        local = time.perf_counter() - began
        began = time.perf_counter()
        made = _run_and_kill(jobs(Path(temporary) / "ray"))
        spread = time.perf_counter() - began
    images = sum(record.images for record in expected.values())
    print(f"{args.scenes} scenes, {images} pictures in {len(expected)} shards of {args.size}x{args.size}")
    print(f"one machine, 2 processes: {local:.1f} s; Ray, 2 nodes of 1 core, one killed half-way: {spread:.1f} s")
    same = sum(made.get(name) == record for name, record in expected.items())
    print(f"equal to the byte: {same} of {len(expected)} shards")
    return 0 if same == len(expected) == len(made) else 1


def _run_and_kill(jobs: list[ShardJob]) -> dict[str, object]:
    """Records by shard; one of two nodes is killed when half of the shards are made."""
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 80_000_000})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1, object_store_memory=80_000_000)
        ray.init(address=cluster.address, log_to_driver=False)
        cluster.wait_for_nodes()
        made: dict[str, object] = {}
        for record in RayEngine().run(make_shard, jobs):
            made[record.name] = record
            if len(made) == len(jobs) // 2:
                cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)
                print(f"killed a node after {len(made)} of {len(jobs)} shards", file=sys.stderr)
        return made
    finally:
        ray.shutdown()
        cluster.shutdown()


if __name__ == "__main__":
    sys.exit(main())
