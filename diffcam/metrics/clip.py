"""CLIP-I and CLIP-IQA over open_clip, with weights from a local file or the model hub."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from diffcam.errors import first_line
from diffcam.metrics.base import MissingWeightsError, SampleMetric

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
"""Mean and deviation of red, green and blue that inputs are normalised by (OpenAI's CLIP)."""

HUB_TIMEOUT = 5.0
"""Seconds to wait for the hub's answer before it counts as out of reach."""


def normalise(image_B3HW: Tensor) -> Tensor:
    """CLIP's normalisation of display values in [0, 1]."""
    mean = torch.tensor(CLIP_MEAN, device=image_B3HW.device).view(1, 3, 1, 1)
    std = torch.tensor(CLIP_STD, device=image_B3HW.device).view(1, 3, 1, 1)
    return (image_B3HW.float() - mean) / std


def centre_view(image_B3HW: Tensor, size: int) -> Tensor:
    """CLIP's view of a picture: short side resized (bicubic, antialiased), the centre square cut out."""
    height, width = image_B3HW.shape[-2:]
    scale = size / min(height, width)
    resized = (max(size, int(height * scale)), max(size, int(width * scale)))
    image = F.interpolate(image_B3HW.float(), resized, mode="bicubic", antialias=True, align_corners=False)
    top, left = round((resized[0] - size) / 2), round((resized[1] - size) / 2)
    return image[..., top : top + size, left : left + size].clamp(0, 1)


def hub_checkpoint(architecture: str) -> Path:
    """Checkpoint of OpenAI's CLIP: from the hub's local cache, otherwise downloaded.

    The hub is asked once, briefly: its own client repeats a failing request for most of a minute.
    """
    import huggingface_hub as hub
    import open_clip

    repository = open_clip.get_pretrained_cfg(architecture, "openai")["hf_hub"].rstrip("/")
    name = "open_clip_model.safetensors"
    cached = hub.try_to_load_from_cache(repository, name)
    if isinstance(cached, str):
        return Path(cached)
    try:
        hub.get_session().head(hub.constants.ENDPOINT, timeout=HUB_TIMEOUT)
        return Path(hub.hf_hub_download(repository, name))
    except Exception as error:  # offline, timed out, refused: each client raises its own kind
        raise MissingWeightsError(
            f"no CLIP {architecture} weights: {repository} is not in the local cache and the model hub "
            f"did not answer; give a local file in weights"
        ) from error


def load_clip(architecture: str, weights: Path | None) -> Any:
    """An open_clip model with its weights, frozen, on the CPU; global random state is left as it was."""
    import open_clip

    path = Path(weights) if weights else hub_checkpoint(architecture)
    if not path.is_file():
        raise MissingWeightsError(f"there is no file {path}")
    try:
        with torch.random.fork_rng(devices=[]):  # a network is drawn at random before its weights are read
            model = open_clip.create_model(architecture, pretrained=str(path), weights_only=True)
    except Exception as error:  # whatever a foreign file makes the loaders raise
        raise MissingWeightsError(f"{path} holds no weights of CLIP {architecture}: {first_line(error)}") from error
    return model.eval().requires_grad_(False)


class ClipMetric(SampleMetric):
    """What both CLIP metrics share: an open_clip model that is loaded when first needed.

    Args:
        architecture: Name of an open_clip model.
        weights: Local checkpoint of it (safetensors or a state dict); None takes OpenAI's from the model hub.
    """

    higher_is_better = True

    def __init__(self, architecture: str, weights: Path | None) -> None:
        self.architecture = architecture
        self.weights = weights
        self.model: Any = None

    def prepare(self) -> None:
        """Load the model once."""
        if self.model is None:
            self.model = load_clip(self.architecture, self.weights)


class CLIPI(ClipMetric):
    """CLIP-I: cosine similarity of the CLIP embeddings of output and reference image (paper, section 4.2)."""

    column, label = "clip_i", "CLIP-I"
    inputs = ("prediction", "reference")

    def __init__(self, architecture: str = "ViT-B-32-quickgelu", weights: Path | None = None) -> None:
        super().__init__(architecture, weights)

    @torch.no_grad()
    def score(self, prediction_B3HW: Tensor, reference_B3HW: Tensor) -> Tensor:
        """Similarities ``(B,)``, 1 for equal images."""
        self.prepare()
        model = self.model.to(prediction_B3HW.device)
        side = model.visual.image_size
        size = side if isinstance(side, int) else side[0]
        views = torch.cat([centre_view(prediction_B3HW, size), centre_view(reference_B3HW, size)])
        first, second = model.encode_image(normalise(views), normalize=True).chunk(2)
        return (first * second).sum(dim=1)


class CLIPIQA(ClipMetric):
    """CLIP-IQA (Wang et al. 2023): is the picture nearer to "Good photo." than to "Bad photo."?

    As published: a CLIP ResNet, the picture at its own size, and no position embedding in the attention pooling.
    """

    column, label = "clip_iqa", "CLIP-IQA"
    inputs = ("prediction",)
    prompts: ClassVar[Sequence[str]] = ("Good photo.", "Bad photo.")

    def __init__(self, architecture: str = "RN50-quickgelu", weights: Path | None = None) -> None:
        super().__init__(architecture, weights)
        self.anchors_2D: Tensor | None = None

    def prepare(self) -> None:
        """Load the model and embed the two prompts, once."""
        import open_clip

        super().prepare()
        if self.anchors_2D is None:
            tokens = open_clip.get_tokenizer(self.architecture)(list(self.prompts))
            self.anchors_2D = self.model.encode_text(tokens, normalize=True)

    @torch.no_grad()
    def score(self, prediction_B3HW: Tensor) -> Tensor:
        """Probabilities ``(B,)`` of the good prompt."""
        self.prepare()
        assert self.anchors_2D is not None
        model, anchors_2D = self.model.to(prediction_B3HW.device), self.anchors_2D.to(prediction_B3HW.device)
        visual = model.visual
        features = visual.stem(normalise(prediction_B3HW))
        for stage in (visual.layer1, visual.layer2, visual.layer3, visual.layer4):
            features = stage(features)
        image_BD = F.normalize(pool_without_positions(visual.attnpool, features), dim=-1)
        logits_B2 = model.logit_scale.exp() * image_BD @ anchors_2D.T
        return logits_B2.softmax(dim=-1)[:, 0]


def pool_without_positions(pool: Any, features_BCHW: Tensor) -> Tensor:
    """A CLIP ResNet's attention pooling, queried by the mean token, position embeddings left out; ``(B, D)``."""
    tokens_BNC = features_BCHW.flatten(2).transpose(1, 2)
    mean_B1C = tokens_BNC.mean(dim=1, keepdim=True)
    tokens_BNC = torch.cat([mean_B1C, tokens_BNC], dim=1)

    def heads(projected: Tensor) -> Tensor:
        return projected.unflatten(-1, (pool.num_heads, -1)).transpose(1, 2)

    query, key, value = pool.q_proj(mean_B1C), pool.k_proj(tokens_BNC), pool.v_proj(tokens_BNC)
    attended = F.scaled_dot_product_attention(heads(query), heads(key), heads(value))
    return pool.c_proj(attended.transpose(1, 2).flatten(2)[:, 0])
