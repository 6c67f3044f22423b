"""A model that gives its inputs back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workers.models import Model, ModelJob


class Mirror(Model):
    """Reports once, then gives all inputs back as outputs."""

    model_label = "Mirror"

    def predict(self, jobs: Sequence[ModelJob]) -> Sequence[Mapping[str, Any]]:
        for job in jobs:
            job.report(50, **{name: job[name] for name in ("text", "image") if name in job})
        return [{**dict(job), **({"seen": job["seen"] + 1} if "seen" in job else {})} for job in jobs]
