"""Image pipelines with random weights, well under 1 MB each: right in every part, and quick on a CPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKL,
    DiffusionPipeline,
    EulerDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    StableDiffusionXLPipeline,
    UNet2DConditionModel,
)
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection, CLIPTokenizer

WIDTH = 32  # of the text encoders
SIDE = 64  # px: what a tiny pipeline paints by default
SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}


def stable_diffusion(**unet: Any) -> DiffusionPipeline:
    """Make a pipeline of the kind of Stable Diffusion 1.5, with its scheduler; `unet` changes its network."""
    return StableDiffusionPipeline(
        unet=_unet(cross_attention_dim=WIDTH, **unet),
        text_encoder=CLIPTextModel(_text_config()).eval(),
        tokenizer=_tokenizer(),
        scheduler=PNDMScheduler(**SCHEDULE, skip_prk_steps=True),
        vae=_vae(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def stable_diffusion_xl() -> DiffusionPipeline:
    """Make a pipeline of the kind of Stable Diffusion XL, with its scheduler."""
    return StableDiffusionXLPipeline(
        unet=_unet(
            cross_attention_dim=2 * WIDTH,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=6 * 8 + WIDTH,
        ),
        text_encoder=CLIPTextModel(_text_config()).eval(),
        tokenizer=_tokenizer(),
        text_encoder_2=CLIPTextModelWithProjection(_text_config()).eval(),
        tokenizer_2=_tokenizer(),
        scheduler=EulerDiscreteScheduler(**SCHEDULE, timestep_spacing="leading"),
        vae=_vae(),
    )


PIPELINES = {"sd": stable_diffusion, "sdxl": stable_diffusion_xl}


def save(kind: str, folder: Path) -> Path:
    """Save a tiny pipeline as its users have theirs; gives its folder.

    Args:
        kind: one of `PIPELINES`.
        folder: where its own folder is made.
    """
    torch.manual_seed(0)
    path = folder / f"tiny-{kind}"
    PIPELINES[kind]().save_pretrained(path, safe_serialization=True)
    return path


def _unet(**more: Any) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=SIDE // 8,
        block_out_channels=(8, 16),
        norm_num_groups=4,
        layers_per_block=1,
        attention_head_dim=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        **more,
    ).eval()


def _vae() -> AutoencoderKL:
    return AutoencoderKL(
        block_out_channels=(4, 4, 8, 8),
        norm_num_groups=4,
        layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        latent_channels=4,
    ).eval()


def _text_config() -> CLIPTextConfig:
    size = len(_vocabulary())
    return CLIPTextConfig(
        vocab_size=size,
        hidden_size=WIDTH,
        intermediate_size=2 * WIDTH,
        projection_dim=WIDTH,
        num_hidden_layers=1,
        num_attention_heads=4,
        hidden_act="gelu",
        bos_token_id=size - 2,
        eos_token_id=size - 1,
        pad_token_id=size - 1,
    )


def _tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer(_vocabulary(), [], model_max_length=77)


def _vocabulary() -> dict[str, int]:
    letters = sorted(ByteLevel.alphabet())
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return {word: number for number, word in enumerate(words)}
