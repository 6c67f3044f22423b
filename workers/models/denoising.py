"""Denoising with the parts of a diffusers pipeline, one step at a time, for images that began at any time.

A pipeline's own call runs a batch from its first step to its last. Here every job has a scheduler of its own,
and one pass of the network takes the images of all jobs, each at its own step. What comes out equals what the
pipeline gives with the same seeds, in whatever company: but for rounding.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import numpy
import torch
import transformers
from diffusers import AutoPipelineForText2Image, StableDiffusionPipeline, StableDiffusionXLPipeline
from diffusers.utils.torch_utils import randn_tensor
from PIL import Image

from workers.models.imagejob import ImageJob

VERSION: str = diffusers.__version__
FAMILIES = {StableDiffusionPipeline: "Stable Diffusion", StableDiffusionXLPipeline: "Stable Diffusion XL"}
CHANNELS = 4  # of latents
HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")

# About the color of each latent channel, from 0 to 1, and that of nothing. Stable Diffusion: keturn in
# discuss.huggingface.co/t/23204; XL: huggingface.co/blog/TimothyAlexisVass/explaining-the-sdxl-latent-space.
_SD = [[0.298, 0.207, 0.208], [0.187, 0.286, 0.173], [-0.158, 0.189, 0.264], [-0.184, -0.271, -0.473]]
_XL = [[60, 60, 60], [-60, -5, 10], [25, 15, -5], [-70, -50, -35]]
COLORS = {
    StableDiffusionPipeline: (numpy.array(_SD) / 2, numpy.full(3, 0.5)),
    StableDiffusionXLPipeline: (numpy.array(_XL) / 255, numpy.array([150, 140, 130]) / 255),
}


@dataclass
class Canvas:
    """The images of one job, on their way.

    Attributes:
        guidance: how much the prompt counts; 1: there are no rows without it.
        scheduler: leads from step to step; it may remember earlier ones.
        timesteps: those to be done.
        extra: what the scheduler's steps take besides.
        embeddings: of the prompts, (rows, tokens, features). Rows are the images, guided ones first without
            and then with the prompt.
        conditions: what the network takes besides, with as many rows.
        latents: (images, 4, height / 8, width / 8).
        cleared: the latents without the noise, as the scheduler guesses them; None if it does not.
        done: steps that are done.
    """

    guidance: float
    scheduler: Any
    timesteps: Any
    extra: dict[str, Any]
    embeddings: torch.Tensor
    conditions: dict[str, torch.Tensor]
    latents: torch.Tensor
    cleared: torch.Tensor | None = None
    done: int = 0

    @property
    def left(self) -> int:
        """Steps that are to be done."""
        return len(self.timesteps) - self.done

    @property
    def rows(self) -> int:
        """Rows that the network takes for these images."""
        return len(self.embeddings)

    def scaled(self) -> torch.Tensor:
        """Give the latents as the network takes them."""
        scaled: torch.Tensor = self.scheduler.scale_model_input(self.latents, self.timesteps[self.done])
        return scaled

    def advance(self, noise: torch.Tensor) -> None:
        """Take a step.

        Args:
            noise: what the network found, by row.
        """
        if self.rows > len(self.latents):
            without, prompted = noise.chunk(2)
            noise = without + self.guidance * (prompted - without)
        result = self.scheduler.step(noise, self.timesteps[self.done], self.latents, **self.extra)
        self.latents = result.prev_sample
        self.cleared = getattr(result, "pred_original_sample", None)
        self.done += 1


class Painter:
    """Paints with one pipeline's parts.

    Args:
        pipe: loaded, of a kind in `FAMILIES`.

    Attributes:
        family: what people call this kind of model.
        precision: of its numbers.
        side: width and height of the images that it was trained with, in pixels.
    """

    def __init__(self, pipe: Any) -> None:
        if isinstance(pipe, StableDiffusionXLPipeline) and pipe.vae.config.force_upcast:
            pipe.vae.to(torch.float32)  # it overflows in half precision
        self._pipe = pipe
        self._device, self._dtype = pipe.device, pipe.unet.dtype
        self._scale = pipe.vae_scale_factor
        self.family = FAMILIES[type(pipe)]
        self.precision = "fp16" if self._dtype == torch.float16 else "fp32"
        size = pipe.unet.config.sample_size
        self.side: int = (size if isinstance(size, int) else size[0]) * self._scale

    @classmethod
    def load(cls, weights: str) -> Painter:
        """Load a pipeline: in half precision onto the GPU if there is one, else as float32.

        Args:
            weights: a folder, from which alone everything is read, or a name on the Hugging Face hub.

        Raises:
            ValueError: the pipeline is of another kind.
            OSError: there is no such pipeline, or it has no safetensors.
        """
        _be_quiet()
        gpu = torch.cuda.is_available()
        folder = Path(weights).expanduser()
        if not folder.is_dir() and not HUB_NAME.fullmatch(weights):
            raise FileNotFoundError(f"there is no folder {weights}")
        pipe = AutoPipelineForText2Image.from_pretrained(
            folder if folder.is_dir() else weights,
            dtype=torch.float16 if gpu else torch.float32,
            use_safetensors=True,
            local_files_only=folder.is_dir(),
        )
        if not _is_supported(pipe):
            kinds = " and ".join(FAMILIES.values())
            raise ValueError(
                f"{weights} is a {type(pipe).__name__} of a kind that is not supported: {kinds} are"
            )
        return cls(pipe.to("cuda" if gpu else "cpu"))

    @torch.inference_mode()
    def begin(self, wanted: ImageJob) -> Canvas:
        """Read the prompts and make the noise of a job's images."""
        embeddings, conditions = self._conditions(wanted)
        scheduler = type(self._pipe.scheduler).from_config(self._pipe.scheduler.config)
        scheduler.set_timesteps(wanted.steps, device=self._device)
        timesteps = scheduler.timesteps
        generators = [torch.Generator().manual_seed(seed) for seed in wanted.seeds]
        width, height = (side // self._scale for side in wanted.size)
        shape = (len(generators), CHANNELS, height, width)
        if wanted.image is None:
            latents = self._noise(shape, generators) * scheduler.init_noise_sigma
        else:
            clean = self._encode(wanted.image, (width * self._scale, height * self._scale), generators)
            begin = (wanted.steps - max(1, int(wanted.steps * wanted.strength))) * scheduler.order
            timesteps = timesteps[begin:]
            if hasattr(scheduler, "set_begin_index"):  # the others find the step by its time
                scheduler.set_begin_index(begin)
            latents = scheduler.add_noise(clean, self._noise(shape, generators), timesteps[:1])
        extra = self._pipe.prepare_extra_step_kwargs(generators, 0.0)
        return Canvas(wanted.guidance, scheduler, timesteps, extra, embeddings, conditions, latents)

    @torch.inference_mode()
    def step(self, canvases: Sequence[Canvas]) -> None:
        """Take one step with each; those of one size pass the network together."""
        by_size: dict[tuple[int, ...], list[Canvas]] = defaultdict(list)
        for canvas in canvases:
            by_size[tuple(canvas.latents.shape[1:])].append(canvas)
        for alike in by_size.values():
            noises = self._network(alike).split([canvas.rows for canvas in alike])
            for canvas, noise in zip(alike, noises, strict=True):
                canvas.advance(noise)

    @torch.inference_mode()
    def finish(self, canvas: Canvas) -> list[Image.Image]:
        """Decode the images, one by one: that takes the least memory."""
        return [self._decode(latents) for latents in canvas.latents.split(1)]

    @torch.inference_mode()
    def preview(self, canvas: Canvas) -> list[Image.Image]:
        """Show about what there is so far, at an eighth of the size: it costs next to nothing."""
        latents = canvas.cleared if canvas.cleared is not None else canvas.latents
        factors, nothing = COLORS[type(self._pipe)]
        colors = latents.permute(0, 2, 3, 1).float().cpu().numpy() @ factors + nothing
        return [Image.fromarray(image) for image in (colors.clip(0, 1) * 255).astype("uint8")]

    def _network(self, canvases: Sequence[Canvas]) -> torch.Tensor:
        """Find the noise in the images of one size, by row."""
        inputs = [canvas.scaled().repeat(canvas.rows // len(canvas.latents), 1, 1, 1) for canvas in canvases]
        times = [canvas.timesteps[canvas.done].expand(canvas.rows) for canvas in canvases]
        names = canvases[0].conditions
        noise: torch.Tensor = self._pipe.unet(
            torch.cat(inputs),
            torch.cat(times),
            encoder_hidden_states=torch.cat([canvas.embeddings for canvas in canvases]),
            added_cond_kwargs={name: torch.cat([c.conditions[name] for c in canvases]) for name in names},
        ).sample
        return noise

    def _conditions(self, wanted: ImageJob) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        """Give what the network is told of the prompts, by row."""
        found = self._pipe.encode_prompt(
            wanted.prompt,
            device=self._device,
            num_images_per_prompt=len(wanted.seeds),
            do_classifier_free_guidance=wanted.guidance > 1,
            negative_prompt=wanted.negative_prompt,
        )
        embeddings, pooled = (_rows(*found[at : at + 2]) for at in (0, 2))
        if pooled is None:
            return embeddings, {}
        width, height = wanted.size
        sizes = torch.tensor([[height, width, 0, 0, height, width]], device=self._device, dtype=self._dtype)
        return embeddings, {"text_embeds": pooled, "time_ids": sizes.repeat(len(embeddings), 1)}

    def _noise(self, shape: tuple[int, ...], generators: list[torch.Generator]) -> torch.Tensor:
        """Draw noise on the CPU, so that it is the same on all machines."""
        noise: torch.Tensor = randn_tensor(shape, generators, device=self._device, dtype=self._dtype)
        return noise

    def _encode(
        self, image: Image.Image, size: tuple[int, int], generators: list[torch.Generator]
    ) -> torch.Tensor:
        vae = self._pipe.vae
        pixels = self._pipe.image_processor.preprocess(image, height=size[1], width=size[0])
        found = vae.encode(pixels.to(self._device, vae.dtype)).latent_dist
        latents = torch.cat([found.sample(generator) for generator in generators])
        return (latents * vae.config.scaling_factor).to(self._dtype)

    def _decode(self, latents: torch.Tensor) -> Image.Image:
        vae = self._pipe.vae
        pixels = vae.decode(latents.to(vae.dtype) / vae.config.scaling_factor).sample
        unsafe = None
        if getattr(self._pipe, "safety_checker", None) is not None:
            pixels, unsafe = self._pipe.run_safety_checker(pixels, self._device, self._dtype)
        image: Image.Image
        (image,) = self._pipe.image_processor.postprocess(
            pixels, do_denormalize=[not found for found in unsafe] if unsafe else None
        )
        return image


def _is_supported(pipe: Any) -> bool:
    """Tell whether its parts take no more than what is done here: no masks, no guidance as an input."""
    if type(pipe) not in FAMILIES:
        return False
    unet, vae = pipe.unet.config, pipe.vae.config
    plain = unet.in_channels == CHANNELS and unet.time_cond_proj_dim is None
    return plain and getattr(vae, "latents_mean", None) is None


def _rows(prompted: Any = None, without: Any = None) -> Any:
    """Give rows for images without the prompt, if there are such, then with it."""
    return prompted if without is None else torch.cat([without, prompted])


def _be_quiet() -> None:
    """Silence what the libraries log of prompts, and bars that mean nothing in a log."""
    for library in diffusers, transformers:
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
