"""The benchmarks. The cases of each take turns, so that a busy moment of the machine meets all alike."""

from __future__ import annotations

import importlib.util
import os
import random
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx
import pytest

from tasks.store import JobStore
from tests.bench import bare, painting
from tests.bench.conversions import Conversion, has_ffmpeg, of_images, of_sounds, repeat
from tests.bench.crowd import Crowd
from tests.bench.load import Load
from tests.bench.media import measured, probe_health, sending
from tests.bench.prefilled import PROCESS, THREAD, Queue, medians
from tests.bench.report import Case
from tests.bench.stack import KEY, Installation, Site, listens, resident, site
from tests.bench.streams import Streams
from tests.services import Process, free_port
from workers.models.sleep import BATCH_TIME, ITEM_TIME

ECHO = [{"text": "hello"}]
BATCH = 32
POLLS = 500  # requests of each run of `backlog`: few beside what is queued
SIMGPU_LIMIT = BATCH / (BATCH_TIME + BATCH * ITEM_TIME)  # items/s
SIZES = (1, 2, 4, 8, 16, 32)
TEXTS = 256
WORDS = """
    the a man woman child dog is was will be playing reading writing running in on under near house garden
    street market guitar letter book river morning evening quickly slowly never always because although stock
    price rises falls weather sunny rain model learns small large number of results
"""


@dataclass(frozen=True)
class Options:
    """What a person may choose.

    Attributes:
        seconds: of each run.
        runs: of each case.
        clients: numbers of clients; None: the benchmark's own.
        brokers: of `echo`; the others use RabbitMQ, where it is among them.
        api_processes: numbers of API processes of `echo`; the others use the last one.
        workers: of `echo` and `simgpu`.
        litserve: a Python that has LitServe; None: `echo` is not compared with it.
        say: tells how far it is.
    """

    seconds: float = 5.0
    runs: int = 3
    clients: tuple[int, ...] | None = None
    brokers: tuple[str, ...] = ("embedded", "rabbitmq")
    api_processes: tuple[int, ...] = (1, 2)
    workers: int = 1
    litserve: Path | None = None
    say: Callable[[str], None] = lambda text: None

    @property
    def warm_up(self) -> float:
        """In s."""
        return min(1.0, self.seconds)


Found = tuple[list[Case], dict[str, Any]]


def echo(options: Options) -> Found:
    """What a request costs without a model."""
    with site() as place:
        places = [
            place.install(broker, "echo_cpu", options.workers, processes)
            for processes in options.api_processes
            for broker in options.brokers
        ]
        if options.litserve:
            places.append(place.litserve(options.litserve))
        return _take_turns(
            options,
            [
                (p, _load(options, p.echo, ECHO, clients), None)
                for clients in options.clients or (1, 64)
                for p in places
            ],
        )


def simgpu(options: Options) -> Found:
    """How near batching comes to what a GPU could do at best."""
    with site() as place:
        installation = _best(place, options, "simgpu", options.workers)
        loads = [_load(options, "simgpu", ECHO, n, "batch_size") for n in options.clients or (64, 256)]
        limit = SIMGPU_LIMIT * options.workers
        cases, _ = _take_turns(options, [(installation, load, limit) for load in loads])
    return cases, {"of_limit": {case.name: round(case.rate / limit, 4) for case in cases}}


def prefilled(options: Options) -> Found:
    """What workers do with a full queue; and what it costs that the model has a process of its own."""
    found: dict[str, Any] = {}
    with site() as place:
        echoes, gpus = Queue(place, "echo"), Queue(place, "simgpu")
        echo_jobs = round(2000 * options.seconds)
        gpu_jobs = BATCH * round(SIMGPU_LIMIT / BATCH * options.seconds)  # the limit holds for full batches
        kinds: dict[str, list[dict[str, float]]] = {}
        for run in range(options.runs):
            for name, app in (("process", PROCESS), ("thread", THREAD)):
                options.say(f"run {run + 1} of {options.runs}: echo, host in a {name}")
                kinds.setdefault(name, []).append(echoes.drain(echo_jobs, 1, app))
        found["echo, one worker"] = {name: medians(runs) for name, runs in kinds.items()}
        for workers in (1, 2, 4):
            runs = []
            for run in range(options.runs):
                options.say(f"run {run + 1} of {options.runs}: simulated GPU, {workers} workers")
                runs.append(gpus.drain(gpu_jobs * workers, workers))
            of_limit = statistics.median(r["rate"] for r in runs) / SIMGPU_LIMIT / workers
            found[f"simulated GPU, {workers} workers"] = medians(runs) | {"of_limit": round(of_limit, 4)}
    return [], found


def embed(options: Options) -> Found:
    """A real model: the whole way, against the model alone."""
    texts = sentences(TEXTS)
    inputs = [{"text": text} for text in texts]
    options.say("looking for the model's best batch size")
    by_size = bare.measure(texts, SIZES, max(1.0, options.seconds / 2))
    best = max(by_size, key=by_size.__getitem__)
    alone: list[float] = []
    with site() as place:
        installation = _best(place, options, "embed_cpu")
        (count,) = options.clients or (64,)
        many, one = (Case(_name(installation, clients)) for clients in (count, 1))
        for run in range(options.runs):
            options.say(f"run {run + 1} of {options.runs}: model alone, {count} clients, 1 client")
            alone.append(bare.measure(texts, [best], options.seconds)[best])
            many.add(*installation.run(_load(options, "embed", inputs, count)))
            one.add(*installation.run(Load(0, "/embed", KEY, inputs, 1, requests=64, warm_up=0.2)))
    ratios = [run.rate / rate for run, rate in zip(many.runs, alone, strict=True)]
    return [many, one], {
        "model_alone": {
            "by_batch_size": {size: round(rate, 1) for size, rate in by_size.items()},
            "best_batch_size": best,
            "rate": round(statistics.median(alone), 1),
            "runs": [round(rate, 1) for rate in alone],
        },
        "ratio_to_model_alone": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
        "gain_over_one_client": round(many.rate / one.rate, 2),
    }


def diffusion(options: Options) -> Found:
    """Images: the whole way, against diffusers' own pipeline in batches of the same size."""
    if importlib.util.find_spec("diffusers") is None:
        pytest.skip("the extra [image] is not installed")
    alone: list[float] = []
    with site() as place:
        options.say("making a pipeline")
        subject = painting.prepare(place.folder)
        options.say(subject.kind)
        installation = _best(place, options, "sd_gpu", settings={"STOKER_SD_MODEL": subject.folder})
        (count,) = options.clients or (2 * painting.BATCH,)
        many = Case(_name(installation, count))
        load = replace(
            _load(options, "sd", [subject.inputs], count), requests=subject.batches * painting.BATCH
        )
        for run in range(options.runs):
            options.say(f"run {run + 1} of {options.runs}: pipeline alone, {count} clients")
            alone.append(subject.measure_alone())
            many.add(*installation.run(load))
    ratios = [run.rate / rate for run, rate in zip(many.runs, alone, strict=True)]
    return [many], {
        "pipeline": subject.kind,
        "pipeline_alone": {"batch": painting.BATCH, "runs": [round(rate, 3) for rate in alone]},
        "ratio_to_pipeline_alone": round(statistics.median(ratios), 3),
        "ratios": [round(ratio, 3) for ratio in ratios],
    }


def crowd(options: Options) -> Found:
    """Clients that wait for their results at the same moment, all on one API process."""
    cases: list[Case] = []
    found: dict[str, Any] = {}
    for count in options.clients or (10_000,):
        case = Case(f"{count} clients that wait")
        for run in range(options.runs):
            options.say(f"run {run + 1} of {options.runs}: {case.name}")
            with site() as place:
                installation = place.install("embedded", "echo_cpu", workers=0)
                with closing(Crowd(installation.port, KEY, installation.store_url)) as clients:
                    clients.come(count)
                    time.sleep(options.seconds)
                    memory = max(map(resident, installation.parts["API"]()))
                    case.add(*installation.measure(clients.leave))
            found.setdefault(f"{case.name}: memory of the process, MB", []).append(round(memory))
        cases.append(case)
    return cases, found


def backlog(options: Options) -> Found:
    """What a request costs while very many jobs are queued."""
    (broker, *_) = options.brokers[::-1]
    asks: list[tuple[Installation, Load, float | None]] = []
    with site() as place:
        for queued in options.clients or (1, 1000, 50_000):
            options.say(f"queueing {queued}")
            installation = place.install(broker, "echo_cpu", workers=0)
            job = [{"text": "hello", "wait_for_result": False}]
            installation.run(Load(0, "/echo", KEY, job, min(64, queued), requests=queued, warm_up=0))
            newest = httpx.post(
                f"http://127.0.0.1:{installation.port}/echo",
                json=job[0],
                headers={"Authorization": f"Bearer {KEY}"},
            )
            poll = [{"job_id": newest.json()["job_id"]}]
            for what, path, inputs in (("submit", "/echo", job), ("poll", "/echo/progress", poll)):
                named = replace(installation, label=f"{queued} queued, {what}")
                asks.append((named, Load(0, path, KEY, inputs, 1, requests=POLLS, warm_up=0.2), None))
        cases, _ = _take_turns(options, asks)
    spent = [sum(case.cpu_medians().values()) for case in cases]
    ratios = {
        case.name: round(cost / spent[n % 2], 3)
        for n, (case, cost) in enumerate(zip(cases, spent, strict=True))
    }
    return cases, {"cpu_time_against_the_shortest_queue": ratios}


def media(options: Options) -> Found:
    """How soon others are answered while clients send images of 12 megapixels."""
    cases = [Case(name) for name in ("/healthz alone", "/healthz meanwhile", "images")]
    with site() as place:
        installation = place.install(options.brokers[0], "pictures_cpu")
        (clients,) = options.clients or (8,)
        for run in range(options.runs):
            options.say(f"run {run + 1} of {options.runs}")
            cases[0].add(measured(probe_health(installation.port, options.seconds), options.seconds))
            began = time.perf_counter()
            with sending(installation.port, KEY, clients) as answers:
                cases[1].add(measured(probe_health(installation.port, options.seconds), options.seconds))
            durations = [duration for status, duration in answers if status == 200]
            errors = len(answers) - len(durations)
            cases[2].add(measured(durations, time.perf_counter() - began, errors))
    return cases, {"clients": clients}


def images(options: Options) -> Found:
    """Images of 12 megapixels, shrunk in threads of one process, and by one ffmpeg process for each."""
    return _beside_ffmpeg(options, of_images)


def sounds(options: Options) -> Found:
    """Sounds of ten seconds, converted in threads of one process, and by one ffmpeg process for each."""
    return _beside_ffmpeg(options, of_sounds)


def _beside_ffmpeg(options: Options, conversions: Callable[[], Mapping[str, Conversion]]) -> Found:
    if not has_ffmpeg():
        pytest.skip("ffmpeg is not installed: there is nothing to compare with")
    counts = options.clients or (1, 4)
    rows = [
        (Case(f"{name}, {count} at once, {how}"), do, count)
        for name, conversion in conversions().items()
        for count in counts
        for how, do in (("here", conversion.ours), ("ffmpeg", conversion.ffmpeg))
    ]
    for run in range(options.runs):
        options.say(f"run {run + 1} of {options.runs}")
        for case, do, count in rows:
            case.add(repeat(do, count, options.seconds))
    cases = [case for case, _, _ in rows]
    ratios = {ours.name: round(ours.rate / other.rate, 1) for ours, other in pairwise(cases)}
    return cases, {"times_as_fast": {name: ratio for name, ratio in ratios.items() if name.endswith("here")}}


def ceiling(options: Options) -> Found:
    """What the load generator itself can do, against a server that does nothing."""
    with site() as place:
        port = free_port()
        command = [sys.executable, "-m", "tests.bench.trivial", str(port)]
        server = Process("trivial server", command, os.environ, place.folder / "log", lambda: listens(port))
        with closing(server):
            server.wait_ready(10)
            installation = Installation("trivial server", {"server": lambda: [server.pid]}, port)
            loads = [_load(options, "x", ECHO, n) for n in options.clients or (1, 64, 256)]
            return _take_turns(options, [(installation, load, None) for load in loads])


def streams(options: Options) -> Found:
    """Clients that follow their jobs by event streams, all on one API process."""
    cases: list[Case] = []
    found: dict[str, Any] = {}
    for count in options.clients or (1000, 5000):
        case = Case(f"{count} streams")
        for run in range(options.runs):
            options.say(f"run {run + 1} of {options.runs}: {case.name}")
            with site() as place:
                installation = place.install("embedded", "echo_cpu", workers=0)
                store = JobStore.from_url(installation.store_url)
                with closing(Streams(installation.port, KEY, store)) as crowd:
                    before = installation.api_memory()
                    opened = crowd.open(count)
                    more = installation.api_memory() - before
                    crowd.rest(options.warm_up)
                    case.add(*installation.measure(lambda: crowd.run(options.seconds)))
            found.setdefault(case.name, []).append(
                {
                    "opened_in_s": round(opened, 2),
                    "memory_mb": round(before),
                    "more_memory_mb": round(more, 1),
                }
            )
        cases.append(case)
    return cases, found


BENCHES: dict[str, Callable[[Options], Found]] = {
    "ceiling": ceiling,
    "echo": echo,
    "simgpu": simgpu,
    "prefilled": prefilled,
    "embed": embed,
    "diffusion": diffusion,
    "streams": streams,
    "crowd": crowd,
    "backlog": backlog,
    "media": media,
    "images": images,
    "sounds": sounds,
}


def sentences(count: int, seed: int = 1) -> list[str]:
    """Make up texts of 6 to 16 words, the same ones every time."""
    source, words = random.Random(seed), WORDS.split()
    return [" ".join(source.choices(words, k=source.randint(6, 16))) for _ in range(count)]


def _best(
    place: Site,
    options: Options,
    queue: str,
    workers: int = 1,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> Installation:
    broker = "rabbitmq" if "rabbitmq" in options.brokers else options.brokers[0]
    return place.install(broker, queue, workers, options.api_processes[-1], settings)


def _load(
    options: Options, endpoint: str, inputs: list[dict[str, Any]], clients: int, collect: str | None = None
) -> Load:
    return Load(0, f"/{endpoint}", KEY, inputs, clients, options.seconds, None, options.warm_up, collect)


def _take_turns(options: Options, wanted: Sequence[tuple[Installation, Load, float | None]]) -> Found:
    cases = [Case(_name(installation, load.clients), limit) for installation, load, limit in wanted]
    for run in range(options.runs):
        for case, (installation, load, _) in zip(cases, wanted, strict=True):
            options.say(f"run {run + 1} of {options.runs}: {case.name}")
            case.add(*installation.run(load))
    return cases, {}


def _name(installation: Installation, clients: int) -> str:
    return f"{installation.label}, {clients} client{'s' if clients > 1 else ''}"
