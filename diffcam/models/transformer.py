"""RefocusTransformer: FLUX's transformer over reference, disparity, noisy and camera tokens (paper, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from diffusers import FluxTransformer2DModel
from diffusers.models.transformers.transformer_flux import FluxTransformerBlock
from torch import Tensor, nn

from diffcam.camera import CameraBatch
from diffcam.functional.tokens import focus_positions, grid_positions, rotary_table
from diffcam.models.conditions import PhotoTokens
from diffcam.models.streams import BlockRun, Memory, Stream, double_block, run_block, single_block

NOISY_AXIS, REFERENCE_AXIS, DISPARITY_AXIS = 0, 1, 2
"""Positions on the first rotary axis, which tells the streams apart; FLUX.1 Kontext uses it the same way."""


class Channels(NamedTuple):
    """Channels of a transformer's tokens.

    Args:
        tokens: Of reference, disparity and noisy tokens.
        output: Of its output.
        cues: Of the cues that are added to the reference's embedding (0: none).
        defocus: Of the cues that are added to the noisy tokens' embedding (0: none).
    """

    tokens: int
    output: int
    cues: int = 0
    defocus: int = 0


class RefocusTransformer(nn.Module):
    """A ``FluxTransformer2DModel`` whose blocks run as named streams, with a camera token in the text stream.

    Args:
        base: The transformer: FLUX.1's, or a small one of the same class.
        attention: ``full`` is the paper: all tokens see all tokens. ``cached`` lets conditions see only conditions,
            so that their keys and values serve every step, every click and both stacking branches.
        condition_timestep: ``zero`` is the paper: the timestep embedding enters the noisy tokens only. ``shared``
            gives conditions the noisy timestep, as in stock FLUX.
        camera_at_focus: Whether the camera token sits at the focus point's position, or at the origin.
        rotary_theta: Base of the rotary frequencies; FLUX's is 10000.
        guidance: Guidance embedding of guidance-distilled bases.
        cue_channels, defocus_channels: See :class:`Channels`.
        checkpointed_blocks: How many blocks, from the first on, compute their activations again in the backward pass
            instead of keeping them; FLUX.1 has 57.
        offload: Whether those blocks' inputs wait for the backward pass in the machine's memory, not the device's.
        compile_backend: Backend of ``torch.compile`` that blocks run through, such as ``inductor``: one compilation for
            all double and one for all single blocks. None: they run as they are.

    Raises:
        ValueError: If ``cached`` meets ``shared``: a cache cannot hold what changes with every step; or if blocks that
            are not checkpointed are to be offloaded.

    Examples:
        >>> transformer = diffcam.models.embedded_model(width=64).transformer
        >>> tokens, cues = torch.rand(1, 6, 768), torch.rand(1, 6, 56)
        >>> photo = transformer.encode_photo_tokens(tokens, tokens, (2, 3), cues)
        >>> len(photo.memory) == len(transformer.blocks)  # keys and values of every block
        True
    """

    def __init__(
        self,
        base: FluxTransformer2DModel,
        attention: Literal["full", "cached"] = "full",
        condition_timestep: Literal["zero", "shared"] = "zero",
        camera_at_focus: bool = True,
        rotary_theta: float = 10000.0,
        guidance: float = 1.0,
        cue_channels: int = 0,
        defocus_channels: int = 0,
        checkpointed_blocks: int = 0,
        offload: bool = False,
        compile_backend: str | None = None,
    ) -> None:
        super().__init__()
        if attention == "cached" and condition_timestep == "shared":
            raise ValueError("attention 'cached' needs condition_timestep 'zero': a cache cannot change with the step")
        if offload and checkpointed_blocks == 0:
            raise ValueError("offload is of checkpointed blocks: raise checkpointed_blocks")
        self.base = base
        self.camera_projector = nn.Linear(3, base.inner_dim)
        self.cue_projector = nn.Linear(cue_channels, base.inner_dim) if cue_channels else None
        self.defocus_projector = nn.Linear(defocus_channels, base.inner_dim) if defocus_channels else None
        self.attention = attention
        self.condition_timestep = condition_timestep
        self.camera_at_focus = camera_at_focus
        self.rotary_theta = rotary_theta
        self.guidance = guidance
        self.checkpointed_blocks = checkpointed_blocks
        self.offload = offload
        self.sharded = False
        self.compile_blocks(compile_backend)

    def compile_blocks(self, backend: str | None) -> None:
        """Run blocks through a backend of ``torch.compile``, or, with None, as they are."""
        runs: tuple[BlockRun, BlockRun] = (double_block, single_block)
        self._double, self._single = (run if backend is None else torch.compile(run, backend=backend) for run in runs)

    @property
    def blocks(self) -> list[Any]:
        """All blocks in the order in which they run."""
        return [*self.base.transformer_blocks, *self.base.single_transformer_blocks]

    @property
    def dtype(self) -> torch.dtype:
        """Data type of the base, in which tokens are computed."""
        return self.base.x_embedder.bias.dtype if self.base.x_embedder.bias is not None else self.base.dtype

    @property
    def projectors(self) -> dict[str, nn.Linear]:
        """The layers that FLUX has not, by name."""
        return {name: layer for name, layer in self.named_children() if isinstance(layer, nn.Linear)}

    @property
    def channels(self) -> Channels:
        """What comes in and goes out."""
        projectors = (self.cue_projector, self.defocus_projector)
        cues = (projector.in_features if projector is not None else 0 for projector in projectors)
        return Channels(self.base.config.in_channels, self.base.out_channels, *cues)

    def encode_photo_tokens(
        self, reference_BNC: Tensor, disparity_BNC: Tensor, grid: tuple[int, int], cues_BNF: Tensor | None = None
    ) -> PhotoTokens:
        """Prepare the tokens of a batch of photos; in cached attention this runs them through all blocks once.

        Raises:
            ValueError: If cues are missing, or come to a transformer without ``cue_channels``.
        """
        if (cues_BNF is None) != (self.cue_projector is None):
            raise ValueError("cues go with cue_channels: a transformer has either both or neither")
        photo = PhotoTokens(reference_BNC, disparity_BNC, grid, cues=cues_BNF)
        if self.attention == "full":
            return photo
        timestep = torch.zeros(1, device=reference_BNC.device)
        _, memory = self._run(self._photo_streams(photo, timestep), remember=True)
        return replace(photo, memory=tuple(memory))

    def forward(
        self,
        noisy_BNC: Tensor,
        timestep_B: Tensor,
        cameras: CameraBatch,
        photo: PhotoTokens,
        defocus_BNF: Tensor | None = None,
    ) -> Tensor:
        """Output tokens of the noisy stream.

        Args:
            noisy_BNC: ``(B * K, N, C)`` noisy tokens: K cameras a photo, photo-major.
            timestep_B: ``(B * K,)`` in [0, 1].
            cameras: ``(B * K,)``.
            photo: Of B photos.
            defocus_BNF: ``(B * K, N, defocus_channels)`` defocus cues.

        Returns:
            ``(B * K, N, output channels)``.

        Raises:
            ValueError: If the batches do not fit, or defocus cues are missing or come to a transformer without them.
        """
        if (defocus_BNF is None) != (self.defocus_projector is None):
            raise ValueError("defocus cues go with defocus_channels: a transformer has either both or neither")
        times, remainder = divmod(len(noisy_BNC), len(photo.reference))
        if remainder or not times:
            raise ValueError(f"{len(noisy_BNC)} noisy samples do not divide over {len(photo.reference)} photos")
        weight = self.camera_projector.weight
        camera = self.camera_projector(cameras.features().to(weight.dtype))[:, None].to(self.dtype)
        focus = cameras.focus if self.camera_at_focus else torch.zeros_like(cameras.focus)
        zero = torch.zeros(1, device=weight.device)
        noisy = self._embed(noisy_BNC, defocus_BNF, self.defocus_projector)
        positions = grid_positions(NOISY_AXIS, *photo.grid, device=noisy.device)[None]
        streams = [
            Stream(camera, self._modulation(zero), self._rotary(focus_positions(focus, *photo.grid)), is_text=True),
            Stream(noisy, self._modulation(timestep_B), self._rotary(positions)),
        ]
        if photo.memory is None:
            streams += self._photo_streams(photo.repeat(times), timestep_B)
        streams, _ = self._run(streams, photo.memory)
        return self.base.proj_out(self.base.norm_out(streams[1].tokens, streams[1].modulation))

    def stock(self, tokens_BNC: Tensor, text_BTC: Tensor, timestep_B: Tensor, pooled_BC: Tensor,
              positions_N3: Tensor, text_positions_T3: Tensor) -> Tensor:  # fmt: skip
        """FLUX's own forward, run through the streams: text tokens, one timestep, no conditions; ``(B, N, out)``."""
        modulation = self._modulation(timestep_B, pooled_BC)
        streams = [
            Stream(self.base.context_embedder(text_BTC), modulation, self._rotary(text_positions_T3[None]), True),
            Stream(self.base.x_embedder(tokens_BNC), modulation, self._rotary(positions_N3[None])),
        ]
        streams, _ = self._run(streams)
        return self.base.proj_out(self.base.norm_out(streams[1].tokens, modulation))

    def _photo_streams(self, photo: PhotoTokens, timestep_B: Tensor) -> list[Stream]:
        if self.condition_timestep == "zero":
            timestep_B = torch.zeros(1, device=timestep_B.device)
        modulation = self._modulation(timestep_B)
        streams = []
        for axis, tokens, cues, projector in (
            (REFERENCE_AXIS, photo.reference, photo.cues, self.cue_projector),
            (DISPARITY_AXIS, photo.disparity, None, None),
        ):
            positions = grid_positions(axis, *photo.grid, device=tokens.device)[None]
            streams.append(Stream(self._embed(tokens, cues, projector), modulation, self._rotary(positions)))
        return streams

    def _embed(self, tokens_BNC: Tensor, cues_BNF: Tensor | None, projector: nn.Linear | None) -> Tensor:
        """Tokens as FLUX embeds them, with their cues, if they have any."""
        embedded = self.base.x_embedder(tokens_BNC.to(self.dtype))
        if projector is None or cues_BNF is None:
            return embedded
        return embedded + projector(cues_BNF.to(projector.weight.dtype)).to(self.dtype)

    def _modulation(self, timestep_B: Tensor, pooled_BC: Tensor | None = None) -> Tensor:
        """Timestep embedding as FLUX computes it; without a text encoder the pooled text embedding is zero."""
        if pooled_BC is None:
            width = self.base.config.pooled_projection_dim
            pooled_BC = torch.zeros(len(timestep_B), width, device=timestep_B.device, dtype=self.dtype)
        thousand_B = timestep_B.to(self.dtype) * 1000
        if not self.base.config.guidance_embeds:
            return self.base.time_text_embed(thousand_B, pooled_BC)
        guidance_B = torch.full_like(thousand_B, self.guidance * 1000)
        return self.base.time_text_embed(thousand_B, guidance_B, pooled_BC)

    def _rotary(self, positions_BN3: Tensor) -> tuple[Tensor, Tensor]:
        return rotary_table(positions_BN3, self.base.config.axes_dims_rope, self.rotary_theta)

    def _run(
        self, streams: list[Stream], memory: Sequence[Memory] | None = None, remember: bool = False
    ) -> tuple[list[Stream], list[Memory]]:
        """Run all blocks; the streams after them and, if asked for, each block's keys and values."""
        remembered = []
        for number, block in enumerate(self.blocks):
            past = memory[number] if memory is not None else None
            run = self._double if isinstance(block, FluxTransformerBlock) else self._single
            recompute = number < self.checkpointed_blocks and torch.is_grad_enabled()
            # A sharded block gathers its weights around the call of a method of its own.
            call = block.run_streams if self.sharded else partial(run_block, block)
            streams, own = call(run, streams, past, recompute, self.offload)
            if remember:
                remembered.append(own)
        return streams, remembered
