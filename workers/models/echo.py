"""Gives its input back: what is left to measure is everything but a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workers.models.base import Model, ModelJob


class Echo(Model):
    """Input and output: `text`."""

    model_label = "Echo"

    def predict(self, jobs: Sequence[ModelJob]) -> Sequence[Mapping[str, Any]]:
        """Return the inputs."""
        return [{"text": job["text"]} for job in jobs]
