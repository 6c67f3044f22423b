"""A model of sounds and videos for tests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from workers.models.base import Model, ModelJob
from workers.models.media import open_sound, open_video


class Sounds(Model):
    """Turns sounds and videos around, so that they end with their beginning, and tells what it got."""

    def predict(self, jobs: Sequence[ModelJob]) -> Sequence[Mapping[str, Any] | Exception]:
        return [self._answer(job) for job in jobs]

    def _answer(self, job: ModelJob) -> Mapping[str, Any]:
        samples, hertz = open_sound(job["speech"])
        frames, rate = open_video(job["clip"])
        return {
            "speech": (samples[:, ::-1], hertz),
            "clip": {"frames": frames[::-1], "frame_rate": rate},
            "seen": [job["speech"][:14], *samples.shape, hertz, *frames.shape, rate],
        }
