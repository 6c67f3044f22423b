"""What a job of the endpoint `sd` wants: its inputs with all that they leave open decided. Needs no torch."""

from __future__ import annotations

import io
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workers.models.base import ModelJob
from workers.models.media import media_bytes, open_image

if TYPE_CHECKING:
    from PIL.Image import Image

ANY_SEED = -1
SEED_BITS = 32  # of seeds that are drawn
STRENGTH = 0.75


@dataclass(frozen=True)
class ImageJob:
    """What shall be painted.

    Attributes:
        prompt: what the images show.
        negative_prompt: what they do not show; None: nothing is said.
        size: width and height in pixels.
        steps: of the scheduler.
        guidance: how much the prompt counts; up to 1 there is no guidance, and a step takes half the time.
        seeds: one for each image.
        image: where the images begin; None: with noise alone.
        strength: share of the steps that are done on `image`.
        preview_every: after so many steps the images so far are shown; 0: never.
    """

    prompt: str
    negative_prompt: str | None
    size: tuple[int, int]
    steps: int
    guidance: float
    seeds: tuple[int, ...]
    image: Image | None
    strength: float
    preview_every: int

    @classmethod
    def read(cls, job: ModelJob, side: int) -> ImageJob:
        """Read the inputs of a job.

        Args:
            job: as the endpoint file lets it through.
            side: width and height of images whose size nobody told, in pixels.
        """
        seed = job.get("seed", ANY_SEED)
        if seed == ANY_SEED:
            seed = random.getrandbits(SEED_BITS)
        return cls(
            prompt=job["prompt"],
            negative_prompt=job.get("negative_prompt") or None,
            size=size_of(job, side),
            steps=job.get("steps", 25),
            guidance=job.get("guidance", 7.0),
            seeds=tuple(range(seed, seed + job.get("num_samples", 1))),
            image=open_image(job["image"]).convert("RGB") if "image" in job else None,
            strength=job.get("strength", STRENGTH),
            preview_every=job.get("progress_images_every", 0),
        )

    def metadata(self, number: int) -> dict[str, Any]:
        """Say how to make image `number` again."""
        told = {
            "prompt": self.prompt,
            "negative_prompt": self.negative_prompt,
            "seed": self.seeds[number],
            "steps": self.steps,
            "guidance": self.guidance,
            "strength": self.strength if self.image else None,
        }
        return {name: value for name, value in told.items() if value is not None}


def size_of(job: ModelJob, side: int) -> tuple[int, int]:
    """Give width and height of a job's images: as told, else those of the image it brings, else `side`."""
    width, height = job.get("width"), job.get("height")
    if width and height:
        return width, height
    own = (side, side)
    if "image" in job:
        from PIL import Image

        with Image.open(io.BytesIO(media_bytes(job["image"]))) as image:
            own = image.size
    return width or own[0], height or own[1]
