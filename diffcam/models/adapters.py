"""What is trained: the whole transformer (embedded scale), or LoRA adapters on a frozen base (FLUX scale)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol

import torch
from diffusers import FluxTransformer2DModel
from peft import LoraConfig
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.nn import functional as F

from diffcam.errors import check_choice
from diffcam.models.initialisation import initialise
from diffcam.models.latents import digest
from diffcam.models.sharding import gathered
from diffcam.models.transformer import RefocusTransformer

LoRATarget = Literal["attention", "feed_forward", "modulation"]

TARGET_PATTERNS: dict[LoRATarget, str] = {
    "attention": r"attn\.(to_[qkv]|to_out\.0|add_[qkv]_proj|to_add_out)",
    "feed_forward": r"(ff|ff_context)\.net\.(0\.proj|2)|proj_mlp|proj_out",
    "modulation": r"(norm1|norm1_context|norm)\.linear",
}
"""Linear layers inside a FLUX block, by part; the single blocks' ``proj_out`` joins attention and feed-forward."""

PROJECTOR_STD = 0.02
"""Of the camera projector's first weights on a trained base, as small as those of its own embedders."""


class Training(Protocol):
    """Makes a transformer ready to be trained."""

    def prepare(self, transformer: RefocusTransformer) -> None:
        """Add, draw and unfreeze parameters; called once, before weights are loaded."""


class FullTraining:
    """Train every weight, from a fresh draw.

    Args:
        seed: Of the drawn weights.

    Examples:
        >>> model = diffcam.models.embedded_model(width=32)
        >>> FullTraining(seed=0).prepare(model.transformer)
        >>> model.transformer.camera_projector.weight.requires_grad
        True
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def prepare(self, transformer: RefocusTransformer) -> None:
        """Draw all weights and unfreeze them, but for those that no token of this model passes through."""
        initialise(transformer, self.seed)
        transformer.requires_grad_(True)
        freeze_unused(transformer)


class MasterLinear(nn.Linear):
    """A bias-free linear layer that keeps float32 weights and computes in its input's data type.

    A float32 adapter on a bfloat16 base would otherwise keep a float32 copy of every layer's input for its gradient.
    """

    def forward(self, input: Tensor) -> Tensor:
        """``input @ weight.T`` in the data type of the input."""
        return F.linear(input, self.weight.to(input.dtype))


class LoRA:
    """Train low-rank adapters and what FLUX has not: the camera projector, and those of cues where there are any.

    The base stays frozen (paper, appendix D).

    Args:
        rank: Of each adapter; the paper's is 64.
        alpha: Scale of the adapters is ``alpha / rank``; None: equal to the rank.
        targets: Parts of the blocks that get adapters.
        seed: Of the drawn weights.

    Examples:
        >>> model = diffcam.models.embedded_model(width=32)
        >>> LoRA(rank=4).prepare(model.transformer)
        >>> model.transformer.base.x_embedder.weight.requires_grad, len(trained_parameters(model)) > 0
        (False, True)
    """

    def __init__(
        self,
        rank: int = 64,
        alpha: float | None = None,
        targets: Sequence[LoRATarget] = ("attention", "feed_forward"),
        seed: int = 0,
    ) -> None:
        for target in targets:
            check_choice("LoRA target", target, TARGET_PATTERNS)
        self.rank = rank
        self.alpha = alpha if alpha is not None else rank
        self.targets = tuple(targets)
        self.seed = seed

    def prepare(self, transformer: RefocusTransformer) -> None:
        """Freeze the base, add adapters with float32 weights, and unfreeze them and the projectors."""
        transformer.requires_grad_(False)
        patterns = "|".join(TARGET_PATTERNS[target] for target in self.targets)
        config = LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            init_lora_weights="gaussian",
            target_modules=rf"(single_)?transformer_blocks\.\d+\.({patterns})",
        )
        transformer.base.add_adapter(config)
        keep_masters(transformer.base)
        for projector in transformer.projectors.values():
            projector.requires_grad_(True)
            nn.init.zeros_(projector.weight)
            nn.init.zeros_(projector.bias)
        generator = torch.Generator().manual_seed(self.seed)
        for name, parameter in trained_parameters(transformer).items():
            parameter.data = parameter.data.float()
            if "lora_A" in name:
                _draw_normal(parameter, 1.0 / self.rank, generator)
        _draw_normal(transformer.camera_projector.weight, PROJECTOR_STD, generator)


def _draw_normal(weight: Tensor, std: float, generator: torch.Generator) -> None:
    """The same numbers on every device, drawn where the generator is; on the meta device none."""
    if not weight.is_meta:
        weight.data.copy_(torch.empty(weight.shape, device=generator.device).normal_(std=std, generator=generator))


def keep_masters(base: nn.Module) -> None:
    """Let the adapters of a model compute in the data type of its tokens, whatever their own weights have."""
    for layer in [module for module in base.modules() if isinstance(module, LoraLayer)]:
        layer.cast_input_dtype_enabled = False
        for parts in (layer.lora_A, layer.lora_B):
            for name, part in parts.items():
                parts[name] = MasterLinear(part.in_features, part.out_features, bias=False, device="meta")
                parts[name].weight = part.weight


def freeze_unused(transformer: RefocusTransformer) -> None:
    """Freeze what gets no gradient in a refocusing model: the text embedder and the last text update.

    Distributed strategies expect a gradient for every trained weight.
    """
    transformer.base.context_embedder.requires_grad_(False)
    if len(transformer.base.single_transformer_blocks) == 0:
        last = transformer.base.transformer_blocks[-1]
        for part in (last.ff_context, last.attn.to_add_out):
            part.requires_grad_(False)


def trained_parameters(module: nn.Module) -> dict[str, nn.Parameter]:
    """Trained parameters by name."""
    return {name: parameter for name, parameter in module.named_parameters() if parameter.requires_grad}


def base_fingerprint(base: FluxTransformer2DModel) -> str:
    """Of a base that adapters are trained on: FLUX.1's descendants share their shape, not their first and last layer.

    Those two are the same with and without adapters, in bfloat16 and in float32, and are not quantised. All processes
    of a sharded model must ask.
    """
    ends = (base.x_embedder.weight, base.proj_out.weight)
    return digest(*(gathered(weight).to(torch.bfloat16) for weight in ends)).hex()
