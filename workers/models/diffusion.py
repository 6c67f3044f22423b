"""Images from texts and images: Stable Diffusion 1.5, 2 and XL, by the parts of diffusers' pipelines.

The images of several jobs are denoised together, step by step, and jobs join and leave between two steps. The
weights are those of the setting STOKER_SD_MODEL, or of a class of your own:

    class MyModel(Diffusion):
        weights = "/models/my-model"
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tasks.settings import Settings
from workers.models.base import ContinuousModel, ModelJob
from workers.models.imagejob import ImageJob, size_of

if TYPE_CHECKING:
    from PIL.Image import Image

    from workers.models.denoising import Canvas, Painter

LIBRARIES = ("accelerate", "diffusers", "safetensors", "torch", "transformers")
INSTALL = "pip install 'stoker[image]'"


class Diffusion(ContinuousModel):
    """Inputs: those of `schemas/endpoints/image/sd.toml`. Outputs: `images`, `seed`.

    Attributes:
        weights: folder of a pipeline that diffusers saved, or its name on the Hugging Face hub; None: as
            STOKER_SD_MODEL says.
    """

    weights: str | None = None
    model_type = "image generation"
    framework = "diffusers"

    def __init__(self) -> None:
        self._paintings: list[_Painting] = []
        self._painter: Painter

    def load(self) -> None:
        """Read the weights, onto the GPU if there is one.

        Raises:
            ModuleNotFoundError: the extra [image] is not installed; says how to install it.
            ValueError: no weights are named, or they are of no kind that is supported.
            OSError: there are no such weights, or not as safetensors.
        """
        weights = self.weights or Settings.from_env().sd_model
        if weights is None:
            raise ValueError("set STOKER_SD_MODEL to a folder with weights, or to a model's name on the hub")
        if missing := [name for name in LIBRARIES if importlib.util.find_spec(name) is None]:
            raise ModuleNotFoundError(f"{', '.join(missing)} not installed: run `{INSTALL}`")
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # read when it is imported
        from workers.models.denoising import VERSION, Painter

        self._painter = Painter.load(weights)
        folder = Path(weights).expanduser()
        self.model_label = folder.resolve().name
        self.model_repo_name = None if folder.is_dir() else weights
        self.model_family = self._painter.family
        self.model_quantization = self._painter.precision
        self.framework_version = VERSION

    def cost(self, job: ModelJob) -> float:
        """Give the pixels of all images of a job: what time and memory go with."""
        width, height = size_of(job, self._painter.side)
        return width * height * job.get("num_samples", 1)

    def admit(self, job: ModelJob) -> None:
        """Read the prompt, and make the noise that the images begin with."""
        wanted = ImageJob.read(job, self._painter.side)
        self._paintings.append(_Painting(job, wanted, self._painter.begin(wanted)))

    def step(self) -> Iterable[tuple[ModelJob, Mapping[str, Any]]]:
        """Denoise all images by one step; gives the jobs whose images are done."""
        self._painter.step([painting.canvas for painting in self._paintings])
        for painting in self._paintings.copy():
            painting.report(self._painter)
            if painting.canvas.left == 0:
                self.evict(painting.job)
                yield painting.job, painting.outputs(self._painter)

    def evict(self, job: ModelJob) -> None:
        """Forget a job's images."""
        self._paintings = [painting for painting in self._paintings if painting.job is not job]


@dataclass
class _Painting:
    """One job on its way."""

    job: ModelJob
    wanted: ImageJob
    canvas: Canvas
    shown: list[Image] = field(default_factory=list)

    def report(self, painter: Painter) -> None:
        """Say how far it is, with the images that were shown last: a report that comes soon replaces it."""
        done, left, every = self.canvas.done, self.canvas.left, self.wanted.preview_every
        if every and left and done % every == 0:
            self.shown = painter.preview(self.canvas)
        outputs = {"progress_images": self.shown} if self.shown else {}
        self.job.report(100 * done / (done + left), **outputs)

    def outputs(self, painter: Painter) -> dict[str, Any]:
        images = painter.finish(self.canvas)
        for number, image in enumerate(images):
            image.info.update(self.wanted.metadata(number))
        return {"images": images, "seed": self.wanted.seeds[0]}
