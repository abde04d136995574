"""Time the metrics that need no network, as the benchmark scores them: scene by scene, in several processes.

Scenes come from the open edition at the size asked for; outputs are the targets of the next sample, so that no metric
meets equal images. Making samples is not timed, scoring is: each process's own wall-clock and processor time. Where
fewer samples are scored than the 1,500 of the paper's benchmark, the time for those is said to be extrapolated.

Usage: ``python benchmarks/metrics.py [--size 512] [--scenes 15] [--workers 2]``
"""

from __future__ import annotations

import argparse
import time
from concurrent.futures import ProcessPoolExecutor
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import torch

from diffcam.benchmark import Edition
from diffcam.data import BokehRenderer, collate
from diffcam.metrics import MAE, PSNR, SSIM, BlurRadiusError, FocusHit, LVCorr, Scores

SHARDS = Path(__file__).parents[1] / "data_shards" / "open-benchmark-layered-*.tar"
GAMMA = 2.2
PAPER_SAMPLES = 1500


def score_scenes(scenes: list[int], size: int) -> tuple[int, float, float]:
    """Samples, wall-clock seconds and processor seconds of one process's share."""
    torch.set_num_threads(1)
    edition = Edition([str(SHARDS)], size, BokehRenderer(gamma=GAMMA))
    scores = Scores([MAE(), PSNR(), SSIM(), LVCorr(), FocusHit(), BlurRadiusError(GAMMA)])
    every = edition.scenes()
    samples, wall, processor = 0, 0.0, 0.0
    for scene in scenes:
        chosen = [edition[number] for number in every[scene % len(every)].numbers]
        batch = collate(chosen)
        shifted = batch.targets[:, 0].roll(-1, dims=0)
        start, start_processor = time.perf_counter(), time.process_time()
        scores.update("timed", batch, shifted)
        samples += len(batch)
        wall += time.perf_counter() - start
        processor += time.process_time() - start_processor
    return samples, wall, processor


def main() -> None:
    """Print the time of each process and of all samples."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="side of the pictures in pixels")
    parser.add_argument("--scenes", type=int, default=15, help="of ten samples each; 150 are the paper's 1,500 samples")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    args = parser.parse_args()
    shares = [list(range(first, args.scenes, args.workers)) for first in range(args.workers)]
    with ProcessPoolExecutor(args.workers, get_context("spawn")) as pool:
        found = list(pool.map(score_scenes, shares, repeat(args.size)))
    samples = sum(count for count, _, _ in found)
    wall = max(seconds for _, seconds, _ in found)
    processor = sum(seconds for _, _, seconds in found)
    print(f"MAE, PSNR, SSIM, LVCorr, focus hit, blur error at {args.size}x{args.size}, {args.workers} processes")
    print(f"{samples} samples: {wall:.1f} s wall-clock, {processor:.1f} s of processor time")
    if samples < PAPER_SAMPLES:
        scale = PAPER_SAMPLES / samples
        print(
            f"extrapolated to {PAPER_SAMPLES} samples: {scale * wall:.0f} s wall-clock, "
            f"{scale * processor / args.workers:.0f} s with {args.workers} idle cores"
        )


if __name__ == "__main__":
    main()
