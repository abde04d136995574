"""FLUX runs from a checkpoint in diffusers' own format, with an adapter, and repeats itself by seed."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch

from diffcam.errors import DiffcamError
from diffcam.pretrained.text_to_image import FluxPhotographer

PROMPT = "a red cat"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small FLUX with random weights, text encoders included, saved as the hub's is."""
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, FluxPipeline, FluxTransformer2DModel
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer, T5Config, T5EncoderModel, T5Tokenizer

    torch.manual_seed(0)
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((letter, -3.0) for letter in letters)]
    vae = AutoencoderKL(
        block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, norm_num_groups=4,
        scaling_factor=0.36, shift_factor=0.12,
    )  # fmt: skip
    transformer = FluxTransformer2DModel(
        in_channels=16, num_layers=1, num_single_layers=1, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=32, pooled_projection_dim=24, axes_dims_rope=(4, 4, 8), guidance_embeds=True,
    )  # fmt: skip
    clip = CLIPTextConfig(
        vocab_size=len(words), hidden_size=24, intermediate_size=24, num_hidden_layers=1, num_attention_heads=2,
        max_position_embeddings=77, eos_token_id=len(words) - 1,
    )  # fmt: skip
    t5 = T5Config(vocab_size=len(pieces), d_model=32, d_kv=8, d_ff=32, num_layers=1, num_heads=2)
    folder = tmp_path_factory.mktemp("flux")
    FluxPipeline(
        scheduler=FlowMatchEulerDiscreteScheduler(), vae=vae, transformer=transformer,
        text_encoder=CLIPTextModel(clip),
        tokenizer=CLIPTokenizer({word: i for i, word in enumerate(words)}, [], model_max_length=77),
        text_encoder_2=T5EncoderModel(t5), tokenizer_2=T5Tokenizer(pieces, extra_ids=0, model_max_length=512),
    ).save_pretrained(folder)  # fmt: skip
    return folder


def photographer(folder: Path, **options: object) -> FluxPhotographer:
    return FluxPhotographer(str(folder), dtype="float32", steps=2, **options)  # type: ignore[arg-type]


def test_output_depends_on_seed_prompt_and_size(checkpoint: Path) -> None:
    make = photographer(checkpoint)
    first = make(PROMPT, 3, (32, 48))
    assert first.shape == (3, 32, 48)
    assert first.dtype == torch.float32
    assert first.min() >= 0
    assert first.max() <= 1
    torch.testing.assert_close(make(PROMPT, 3, (32, 48)), first)
    assert not torch.allclose(make(PROMPT, 4, (32, 48)), first)
    assert not torch.allclose(make("the blue dog", 3, (32, 48)), first)


def test_the_adapter_against_blur_is_applied(checkpoint: Path, tmp_path: Path) -> None:
    from diffusers import FluxPipeline, FluxTransformer2DModel
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    transformer = FluxTransformer2DModel.from_pretrained(checkpoint, subfolder="transformer")
    transformer.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_v"], init_lora_weights=False))
    FluxPipeline.save_lora_weights(
        tmp_path, get_peft_model_state_dict(transformer), weight_name="anti_blur.safetensors"
    )
    adapter = str(tmp_path / "anti_blur.safetensors")
    plain = photographer(checkpoint)(PROMPT, 0, (32, 32))
    off = photographer(checkpoint, adapter=adapter, adapter_scale=0.0)(PROMPT, 0, (32, 32))
    torch.testing.assert_close(off, plain, atol=1e-5, rtol=0)
    assert not torch.allclose(photographer(checkpoint, adapter=adapter)(PROMPT, 0, (32, 32)), plain, atol=1e-3)


def test_pickles_without_weights(checkpoint: Path) -> None:
    make = photographer(checkpoint)
    make(PROMPT, 0, (32, 32))
    packed = pickle.dumps(make)
    assert len(packed) < 2000
    assert pickle.loads(packed).describe() == make.describe()  # noqa: S301 - made here


def test_missing_model_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DiffcamError, match=r"text-to-image model .* cannot be loaded") as caught:
        photographer(tmp_path)(PROMPT, 0, (32, 32))
    assert "\n" not in str(caught.value)
