"""From endpoints to loaded models: what a model host does before it takes jobs."""

from __future__ import annotations

import importlib
import logging
import math
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from schemas import Endpoint
from tasks.errors import ModelLoadFailed
from workers.loop import ModelLoop, Service
from workers.luggage import Luggage
from workers.messages import FromHost, Item, Report
from workers.models.base import ContinuousModel, Model
from workers.queueing import Limits
from workers.runner import Runner
from workers.session import Session

logger = logging.getLogger(__name__)

MARGIN = 60.0  # s that large outputs outlive the result that names them


def load_models(endpoints: Sequence[Endpoint]) -> tuple[dict[str, Model], float]:
    """Load each model that these endpoints name, once, and warm it up with their examples.

    Returns:
        Models by their names in the endpoint files; and how long a batch takes at most, in s, if each of its
        jobs takes as long as the example: infinite if an endpoint has none.

    Raises:
        ModelLoadFailed: with the name of the model and the reason.
    """
    models: dict[str, Model] = {}
    batch_time = 0.0
    for endpoint in endpoints:
        name = str(endpoint.model)
        try:
            if name not in models:
                model = _find(name)()
                model.load()
                models[name] = model
        except Exception as error:  # the end of this host, whatever a model may raise
            logger.debug("loading %s", name, exc_info=True)
            reason = (
                f"model {name} of endpoint {endpoint.name} cannot be loaded: {type(error).__name__}: {error}"
            )
            raise ModelLoadFailed(reason) from error
        batch_time = max(batch_time, _warm_up(endpoint, models[name]) * endpoint.max_batch_size)
    return models, batch_time


def build_loop(
    endpoints: Sequence[Endpoint],
    models: dict[str, Model],
    emit: Callable[[FromHost], None],
    luggage: Luggage,
) -> ModelLoop:
    """Give the loop that serves these endpoints with their models."""
    loop: ModelLoop

    def is_canceled(number: int) -> bool:
        return loop.is_canceled(number)

    sessions = {
        name: Session(model, is_canceled)
        for name, model in models.items()
        if isinstance(model, ContinuousModel)
    }
    services = {}
    for endpoint in endpoints:
        model = str(endpoint.model)
        session = sessions.get(model)
        max_wait = 0.0 if session else endpoint.max_wait  # who can join later need not be waited for
        services[endpoint.name] = Service(
            Runner(
                endpoint,
                models[model],
                lambda *said: emit(Report(*said)),
                is_canceled,
                partial(luggage.stow, lifetime=endpoint.result_lifetime + MARGIN),
            ),
            Limits(endpoint.max_batch_size, max_wait, endpoint.max_batch_cost or math.inf),
            session,
        )
    loop = ModelLoop(services, emit, wear(endpoints))
    return loop


def describe(models: dict[str, Model]) -> dict[str, Any]:
    """Give what the first model says of itself."""
    return next((model.description for model in models.values()), {})


def wear(endpoints: Sequence[Endpoint]) -> Callable[[int], str | None]:
    """Give what says when a host that serves these endpoints shall be replaced: by the strictest of them."""
    max_jobs = min((e.max_jobs_per_host for e in endpoints if e.max_jobs_per_host), default=None)
    max_memory = min((e.max_memory for e in endpoints if e.max_memory), default=None)

    def worn_out(jobs: int) -> str | None:
        if max_jobs is not None and jobs >= max_jobs:
            return f"it ran {jobs} jobs (max_jobs_per_host)"
        if max_memory is not None and (memory := resident_memory()) > max_memory:
            return f"it holds {memory / 1e6:.0f} MB of memory (max_memory: {max_memory / 1e6:.0f} MB)"
        return None

    return worn_out


def resident_memory() -> int:
    """Give the memory that this process holds, in bytes (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _find(name: str) -> type[Model]:
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def _warm_up(endpoint: Endpoint, model: Model) -> float:
    """Run the example; gives the seconds that it took."""
    if endpoint.example is None:
        return math.inf
    began = time.monotonic()
    inputs = {**endpoint.default_session_vars(), **endpoint.load_inputs(endpoint.example)}
    runner, item = Runner(endpoint, model), Item(0, "warm-up", endpoint.name, inputs)
    (outcome,) = runner.outcomes([item], runner.run([item]))
    if outcome.error:
        reason = f"model {endpoint.model} fails on the example of endpoint {endpoint.name}: {outcome.error}"
        raise ModelLoadFailed(reason)
    return time.monotonic() - began
