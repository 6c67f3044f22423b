"""A model of images for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy
from PIL import ImageChops

from workers.models.base import Model, ModelJob
from workers.models.media import open_image


class Pictures(Model):
    """Turns images into their negatives, and tells what it got."""

    def predict(self, jobs: Sequence[ModelJob]) -> Sequence[Mapping[str, Any] | Exception]:
        return [self._answer(job) for job in jobs]

    def _answer(self, job: ModelJob) -> Mapping[str, Any]:
        image = open_image(job["image"])
        others = [open_image(value) for value in job.get("more", [])]
        others += [
            open_image(item["image"])
            for message in job.get("chat", [])
            for item in message["content"]
            if "image" in item
        ]
        job.report(50, preview=image)
        negative = ImageChops.invert(image)
        negative.info |= {"prompt": job["text"], "seed": 42}
        floats = numpy.asarray(image, dtype="float32") / 255
        return {
            "image": negative,
            "array": floats * job["strength"],
            "images": others,
            "seen": [[seen.format, *seen.size, seen.mode] for seen in (image, *others)],
        }
