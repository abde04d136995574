"""Speed and memory of FLUX's transformer in training and in sampling, with random weights of the true size.

    python benchmarks/flux_step.py                    # a GPU of 80 GB; about a quarter of an hour
    python benchmarks/flux_step.py --tiny --device cpu  # a small model, to see that everything runs

Operations are counted, not estimated, and recomputation is left out; utilisation is their share of what a large matrix
product reaches in the same run. The peer is diffusers' FluxKontextPipeline on the same weights with the same work: one
token of text, three times the image's tokens, no encoding and no decoding.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxKontextPipeline, FluxTransformer2DModel

from diffcam.camera import CameraBatch
from diffcam.models import LoRA, RefocusTransformer
from diffcam.models.flux import FLUX_TRANSFORMER, FLUX_VAE
from diffcam.planning.operations import count_flops, meta_copy

TINY = {
    **FLUX_TRANSFORMER, "num_layers": 1, "num_single_layers": 2, "attention_head_dim": 32, "num_attention_heads": 4,
    "joint_attention_dim": 32, "pooled_projection_dim": 16, "axes_dims_rope": (8, 12, 12),
}  # fmt: skip
TOKEN_PIXELS = 16


def seconds(run: Callable[[], Any], device: torch.device, repeats: int) -> float:
    """Mean time of some runs after one that is not counted."""
    run()
    _wait(device)
    started = time.perf_counter()
    for _ in range(repeats):
        run()
    _wait(device)
    return (time.perf_counter() - started) / repeats


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_ceiling(device: torch.device, side: int, repeats: int) -> float:
    """Operations a second of a bfloat16 matrix product."""
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * side**3 / seconds(lambda: left @ right, device, repeats)


def work(transformer: RefocusTransformer, side: int, pairs: int, device: str) -> Callable[[], torch.Tensor]:
    """Conditions and velocities of some pairs, with a loss."""
    rows = side // TOKEN_PIXELS
    with torch.device(device):
        reference = torch.randn(pairs, rows * rows, 64, dtype=torch.bfloat16)  # zeros would be multiplied faster
        noisy, timestep = reference.repeat(2, 1, 1), torch.full((2 * pairs,), 0.5)
        cameras = CameraBatch(torch.full((2 * pairs, 2), 0.5), torch.full((2 * pairs,), 8.0))

    def run() -> torch.Tensor:
        photo = transformer.encode_photo_tokens(reference, reference, (rows, rows))
        return transformer(noisy, timestep, cameras, photo).float().square().mean()

    return run


def train(base: FluxTransformer2DModel, device: torch.device, args: argparse.Namespace, ceiling: float) -> None:
    """Print a line for each setting."""
    counted = cache(lambda side, attention: count_flops(work(_eager_meta(base, attention), side, 1, "meta")))
    print("\n| size | pairs | attention | blocks | recomputed | TFLOP | steps/s | peak GB | utilisation |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |")
    for side in args.sizes:
        for attention in ("full", "cached"):
            for backend in args.backends:
                for pairs in args.pairs:
                    for share in (0.0, 1.0):
                        flops = pairs * counted(side, attention)
                        line = _train_line(base, device, args, ceiling, flops, side, attention, backend, pairs, share)
                        print(line, flush=True)


def _train_line(
    base: FluxTransformer2DModel, device: torch.device, args: argparse.Namespace, ceiling: float, flops: int,
    side: int, attention: Any, backend: str, pairs: int, share: float,
) -> str:  # fmt: skip
    compiled = None if backend == "eager" else backend
    transformer = RefocusTransformer(base, attention, compile_backend=compiled)
    with torch.device(device):
        transformer.camera_projector.to(device)
    transformer.checkpointed_blocks = round(share * len(transformer.blocks))
    trained = [weight for weight in transformer.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4)
    run = work(transformer, side, pairs, str(device))

    def step() -> None:
        run().backward()
        optimizer.step()
        optimizer.zero_grad()

    setting = f"| {side} | {pairs} | {attention} | {backend} | {transformer.checkpointed_blocks} | {flops / 1e12:.2f} |"
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats(device)
    try:
        took = seconds(step, device, args.repeats)
    except torch.cuda.OutOfMemoryError:
        optimizer.zero_grad()
        return f"{setting} out of memory | | |"
    peak = f"{torch.cuda.max_memory_allocated(device) / 1e9:.1f}" if device.type == "cuda" else "-"
    return f"{setting} {1 / took:.3f} | {peak} | {flops / took / ceiling:.1%} |"


def _eager_meta(base: FluxTransformer2DModel, attention: Any) -> RefocusTransformer:
    twin = RefocusTransformer(meta_copy(base), attention)
    twin.camera_projector.to("meta")
    return twin


@torch.no_grad()
def sample(base: FluxTransformer2DModel, device: torch.device, args: argparse.Namespace) -> None:
    """Print seconds an image: FluxKontextPipeline, full attention, cached attention, and a further click."""
    print(f"\n{args.steps} sampling steps, seconds an image")
    print("| size | FluxKontextPipeline | full | cached, first | cached, further click |")
    print("| --- | --- | --- | --- | --- |")
    for side in args.sizes:
        times = [seconds(_peer(base, device, args, side), device, 1)]
        for attention in ("full", "cached"):
            times += _clicks(RefocusTransformer(base, attention).to(device), side, device, args.steps)  # type: ignore[arg-type]
        print(f"| {side} | " + " | ".join(f"{value:.2f}" for value in times) + " |", flush=True)


def _clicks(transformer: RefocusTransformer, side: int, device: torch.device, steps: int) -> list[float]:
    """Seconds of a first click, and in cached attention of a further one."""
    opened = _open(transformer, side, device)

    def first() -> None:
        _click(transformer, _open(transformer, side, device), side, device, steps)

    def further() -> None:
        _click(transformer, opened, side, device, steps)

    return [seconds(run, device, 1) for run in ((first, further) if transformer.attention == "cached" else (first,))]


def _open(transformer: RefocusTransformer, side: int, device: torch.device) -> Any:
    rows = side // TOKEN_PIXELS
    tokens = torch.randn(1, rows * rows, 64, device=device, dtype=torch.bfloat16)
    return transformer.encode_photo_tokens(tokens, tokens, (rows, rows))


def _click(transformer: RefocusTransformer, opened: Any, side: int, device: torch.device, steps: int) -> None:
    rows = side // TOKEN_PIXELS
    latent = torch.randn(1, rows * rows, 64, device=device)
    cameras = CameraBatch(torch.full((1, 2), 0.5, device=device), torch.full((1,), 8.0, device=device))
    for step in range(steps):
        timestep = torch.full((1,), 1 - step / steps, device=device)
        latent = latent - transformer(latent, timestep, cameras, opened).float() / steps


def _peer(base: FluxTransformer2DModel, device: torch.device, args: argparse.Namespace, side: int) -> Callable[[], Any]:
    with torch.device("meta"):
        vae = AutoencoderKL(**FLUX_VAE)  # for its shape alone: latents go in and latents come out
    pipeline = FluxKontextPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(), vae=vae, transformer=base,
        text_encoder=None, tokenizer=None, text_encoder_2=None, tokenizer_2=None,
    )  # fmt: skip
    pipeline.set_progress_bar_config(disable=True)
    config = base.config
    given = {
        "image": torch.randn(1, 16, side // 8, side // 4, device=device, dtype=torch.bfloat16),
        "prompt_embeds": torch.randn(1, 1, config.joint_attention_dim, device=device, dtype=torch.bfloat16),
        "pooled_prompt_embeds": torch.randn(1, config.pooled_projection_dim, device=device, dtype=torch.bfloat16),
    }
    latents = torch.randn(1, (side // TOKEN_PIXELS) ** 2, 64, device=device, dtype=torch.bfloat16)
    return lambda: pipeline(
        **given, latents=latents, height=side, width=side, max_area=side * side, _auto_resize=False,
        num_inference_steps=args.steps, guidance_scale=1.0, output_type="latent",
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--tiny", action="store_true", help="a small model")
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 1024])
    parser.add_argument("--pairs", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--backends", nargs="+", default=["eager", "inductor"])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--ceiling", type=int, default=8192, help="side of the matrices")
    args = parser.parse_args()
    device = torch.device(args.device)
    torch.manual_seed(0)
    with torch.device(device):
        torch.set_default_dtype(torch.bfloat16)
        base = FluxTransformer2DModel(**(TINY if args.tiny else FLUX_TRANSFORMER))
        torch.set_default_dtype(torch.float32)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    ceiling = matrix_ceiling(device, args.ceiling, args.repeats)
    print(f"{name}, torch {torch.__version__}, matrix product {ceiling / 1e12:.3g} TFLOP/s")
    sample(base, device, args)
    with torch.device(device):
        LoRA(64 if not args.tiny else 4).prepare(RefocusTransformer(base))
    train(base, device, args, ceiling)


if __name__ == "__main__":
    main()
