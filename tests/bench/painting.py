"""Images by diffusers' own pipeline without a server: full batches, one after another.

On a GPU the pipeline has the size of Stable Diffusion XL, on a CPU it is tiny. Its weights are random: for
speed that does not matter. Each part of the work is done in a process of its own, which leaves no memory
behind on a GPU: it reads its wish as JSON from stdin and writes what came of it as JSON to stdout.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.services import ROOT

PROMPT = "a lighthouse in a storm"
BATCH = 4  # images, as in the endpoint file
STEPS = 25


@dataclass(frozen=True)
class Subject:
    """What is painted.

    Attributes:
        folder: of the pipeline.
        side: width and height of the images, in pixels.
        batches: that are measured.
        kind: for people.
    """

    folder: str
    side: int
    batches: int
    kind: str

    @property
    def inputs(self) -> dict[str, Any]:
        """What a client of the endpoint `sd` sends."""
        return {"prompt": PROMPT, "steps": STEPS, "width": self.side, "height": self.side}

    def measure_alone(self) -> float:
        """Give images/s."""
        return float(_by_process("alone", asdict(self)))


def prepare(folder: Path) -> Subject:
    """Make the pipeline that suits this machine."""
    return Subject(**_by_process("prepare", str(folder)))


def _by_process(what: str, wish: Any) -> Any:
    command = [sys.executable, "-m", "tests.bench.painting", what]
    done = subprocess.run(
        command, input=json.dumps(wish), text=True, stdout=subprocess.PIPE, check=True, cwd=ROOT
    )
    return json.loads(done.stdout)


def _prepare(folder: str) -> dict[str, Any]:
    import torch

    from tests.data.pipelines import full_size_xl, save

    if not torch.cuda.is_available():
        kind = "tiny, on the CPU: this says nothing of GPUs"
        return asdict(Subject(str(save("sdxl", Path(folder))), 256, 10, kind))
    path = Path(folder) / "full-size"
    full_size_xl("cuda", torch.float16).save_pretrained(path)
    kind = f"as large as SDXL, random weights, fp16 on {torch.cuda.get_device_name()}"
    return asdict(Subject(str(path), 1024, 5, kind))


def _alone(subject: Subject) -> float:
    import torch
    from diffusers import AutoPipelineForText2Image

    gpu = torch.cuda.is_available()
    pipe = AutoPipelineForText2Image.from_pretrained(
        subject.folder, dtype=torch.float16 if gpu else torch.float32
    ).to("cuda" if gpu else "cpu")
    pipe.set_progress_bar_config(disable=True)

    def paint(count: int) -> None:
        for _ in range(count):
            generators = [torch.Generator().manual_seed(seed) for seed in range(BATCH)]
            pipe(
                [PROMPT] * BATCH,
                num_inference_steps=STEPS,
                guidance_scale=7.0,
                width=subject.side,
                height=subject.side,
                generator=generators,
            )

    paint(1)
    began = time.perf_counter()
    paint(subject.batches)
    return subject.batches * BATCH / (time.perf_counter() - began)


def main() -> None:
    """Do what the argument says with what stdin holds."""
    wish = json.load(sys.stdin)
    json.dump(_prepare(wish) if sys.argv[1] == "prepare" else _alone(Subject(**wish)), sys.stdout)


if __name__ == "__main__":
    main()
