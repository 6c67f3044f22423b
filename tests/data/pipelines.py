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
    unet = _unet(
        cross_attention_dim=2 * WIDTH,
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=8,
        projection_class_embeddings_input_dim=6 * 8 + WIDTH,
    )
    with torch.no_grad():
        unet.add_embedding.linear_2.weight *= 100  # else nobody would see if the sizes were told wrong
    return StableDiffusionXLPipeline(
        unet=unet,
        text_encoder=CLIPTextModel(_text_config()).eval(),
        tokenizer=_tokenizer(),
        text_encoder_2=CLIPTextModelWithProjection(_text_config()).eval(),
        tokenizer_2=_tokenizer(),
        scheduler=EulerDiscreteScheduler(**SCHEDULE, timestep_spacing="leading"),
        vae=_vae(),
    )


def full_size_xl(device: str, dtype: torch.dtype) -> DiffusionPipeline:
    """Make a pipeline as large as Stable Diffusion XL base 1.0, to measure speed: 3.4 billion numbers."""
    small = {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": 12,
        "num_attention_heads": 12,
    }
    large = {
        "hidden_size": 1280,
        "intermediate_size": 5120,
        "num_hidden_layers": 32,
        "num_attention_heads": 20,
    }
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    with torch.device(device):
        unet = UNet2DConditionModel(
            sample_size=128,
            block_out_channels=(320, 640, 1280),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
            transformer_layers_per_block=(1, 2, 10),
            attention_head_dim=(5, 10, 20),
            cross_attention_dim=768 + 1280,
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=256,
            projection_class_embeddings_input_dim=6 * 256 + 1280,
        )
        encoder = CLIPTextModel(_text_config(**small))
        encoder_2 = CLIPTextModelWithProjection(_text_config(**large, projection_dim=1280))
        vae = AutoencoderKL(
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            latent_channels=4,
            scaling_factor=0.13025,
        )
    torch.set_default_dtype(before)
    return StableDiffusionXLPipeline(
        unet=unet,
        text_encoder=encoder,
        tokenizer=_tokenizer(),
        text_encoder_2=encoder_2,
        tokenizer_2=_tokenizer(),
        scheduler=EulerDiscreteScheduler(**SCHEDULE, timestep_spacing="leading"),
        vae=vae,
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


def _text_config(**more: Any) -> CLIPTextConfig:
    size = len(_vocabulary())
    tiny = {
        "hidden_size": WIDTH,
        "intermediate_size": 2 * WIDTH,
        "projection_dim": WIDTH,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
    }
    return CLIPTextConfig(
        vocab_size=size,
        hidden_act="gelu",
        bos_token_id=size - 2,
        eos_token_id=size - 1,
        pad_token_id=size - 1,
        **tiny | more,
    )


def _tokenizer() -> CLIPTokenizer:
    return CLIPTokenizer(_vocabulary(), [], model_max_length=77)


def _vocabulary() -> dict[str, int]:
    letters = sorted(ByteLevel.alphabet())
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return {word: number for number, word in enumerate(words)}
