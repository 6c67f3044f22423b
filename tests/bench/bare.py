"""The embedding model without a server: a loop over `predict`, in a process of its own as in a worker.

Reads texts, batch sizes and seconds as JSON from stdin; writes batch size -> items/s as JSON to stdout. The
environment is that of a worker, and `Embed.load` sets the number of threads here as it does there.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from itertools import cycle, islice

from tests.services import ROOT
from workers.models.base import ModelJob
from workers.models.embed import Embed


def measure(texts: Sequence[str], sizes: Sequence[int], seconds: float) -> dict[int, float]:
    """Measure by a fresh process; gives items/s by batch size."""
    wish = json.dumps({"texts": texts, "sizes": sizes, "seconds": seconds})
    command = [sys.executable, "-m", "tests.bench.bare"]
    done = subprocess.run(command, input=wish, text=True, stdout=subprocess.PIPE, check=True, cwd=ROOT)
    return {int(size): rate for size, rate in json.loads(done.stdout).items()}


def loop(model: Embed, texts: Sequence[str], size: int, seconds: float) -> float:
    """Run batches of `size`; gives items/s."""
    source = cycle(texts)
    items, began = 0, time.perf_counter()
    while time.perf_counter() < began + seconds:
        model.predict([ModelJob({"text": text}) for text in islice(source, size)])
        items += size
    return items / (time.perf_counter() - began)


def main() -> None:
    """Measure what stdin asks for."""
    wish = json.load(sys.stdin)
    model = Embed()
    model.load()
    loop(model, wish["texts"], 8, 0.3)
    json.dump({size: loop(model, wish["texts"], size, wish["seconds"]) for size in wish["sizes"]}, sys.stdout)


if __name__ == "__main__":
    main()
