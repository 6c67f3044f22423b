"""Endpoint: what a client calls, as its endpoint file describes it."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schemas.inputs import InputSchema
from schemas.media.kinds import RULES
from schemas.media.source import Reader
from schemas.outputs import OutputSchema


@dataclass(frozen=True, eq=False, kw_only=True)
class Endpoint:
    """One endpoint, with the schemas of its values built once. Made by `load_endpoints`.

    Attributes:
        name: its name, also in its URL.
        title: its name for people.
        description: what it does, in a sentence.
        category: what pages group it by.
        version: version of its inputs and outputs.
        methods: HTTP methods that it takes, of GET and POST.
        demo_url: a page that shows it.
        path: its file.
        enabled: whether it takes requests.
        max_queue_length: jobs that may wait.
        max_queued_bytes: bytes of large jobs that may wait or run; 0: any number; None: the server's.
        max_time_in_queue: seconds that a job may wait before it lapses.
        result_lifetime: seconds that a result can be read.
        cancel_on_disconnect: whether a job ends as canceled if its client hangs up while it waits for the
            result; a request may say otherwise.
        allow_urls: whether images, sounds and videos may be given as URLs, which the API then fetches.
        queue: the queue of the workers that serve it; several endpoints may share one.
        model: "package.module:Class" of the model; None: workers of another kind serve it.
        max_batch_size: jobs that the model takes at once.
        max_wait: seconds that an unfilled batch waits for more jobs.
        group_by: inputs that must be equal in all jobs of a batch.
        max_batch_cost: what the jobs of a batch may cost together, by the model's `cost`; None: no limit.
        max_runtime: seconds after which a batch counts as hung.
        max_load_time: seconds after which a model host that still loads counts as hung.
        max_jobs_per_host: jobs after which a model host is replaced by a fresh one; None: never.
        max_memory: bytes; a model host that holds more is replaced; None: whatever it holds.
        authorization_keys: name of a client -> its API key. Secret: left out of the text form.
        provide_worker_meta_data: whether results name the worker.
        client_request_limit: requests that one client may have open; None: any number.
        client_share: jobs that one client may have in the queue; its further ones wait with the next lower
            priority. 0: any number.
        client_bytes_per_day: bytes of inputs that one client may send in a day; None: as the settings say.
        client_seconds_per_day: seconds of the model's time that one client may use in a day; None: the same.
        inputs: the file's INPUTS tables.
        outputs: the file's OUTPUTS tables.
        progress_outputs: the file's PROGRESS.OUTPUTS tables.
        session_vars: the file's SESSION.VARS tables: name -> {type, default}.
        example: inputs that are valid, for warm-up and documentation; None: the file has none.
    """

    name: str
    title: str
    description: str
    category: str | None
    version: int | None
    methods: tuple[str, ...]
    demo_url: str | None
    path: Path
    enabled: bool
    max_queue_length: int
    max_queued_bytes: int | None
    max_time_in_queue: float
    result_lifetime: float
    cancel_on_disconnect: bool
    allow_urls: bool
    queue: str
    model: str | None
    max_batch_size: int
    max_wait: float
    group_by: tuple[str, ...]
    max_batch_cost: float | None
    max_runtime: float
    max_load_time: float
    max_jobs_per_host: int | None
    max_memory: float | None
    authorization_keys: Mapping[str, str] = field(repr=False)
    provide_worker_meta_data: bool
    client_request_limit: int | None
    client_share: int
    client_bytes_per_day: int | None
    client_seconds_per_day: int | None
    inputs: Mapping[str, Mapping[str, Any]] = field(repr=False)
    outputs: Mapping[str, Mapping[str, Any]] = field(repr=False)
    progress_outputs: Mapping[str, Mapping[str, Any]] = field(repr=False)
    session_vars: Mapping[str, Mapping[str, Any]] = field(repr=False)
    example: Mapping[str, Any] | None = field(repr=False)
    input_schema: InputSchema = field(repr=False)
    output_schema: OutputSchema = field(repr=False)
    progress_schema: OutputSchema = field(repr=False)
    session_defaults: Mapping[str, Any] = field(repr=False)

    @property
    def task_name(self) -> str:
        """Name of the Celery task that stands for this endpoint."""
        return f"infer.{self.name}"

    @property
    def reads_media(self) -> bool:
        """Whether inputs may hold files, so that `load_inputs` may take seconds."""
        return self.input_schema.reads_media

    def with_files(self, raw: Mapping[str, Any], read: Reader) -> dict[str, Any]:
        """Put files in the place of what refers to them; to be called before `load_inputs`.

        Args:
            raw: as of `load_inputs`; not changed.
            read: is called with each text that stands for an image, a sound or a video, and the largest size
                of that in bytes; gives what shall stand there: the text as it is, bytes, or an error.
        """
        return self.input_schema.with_files(raw, read)

    def load_inputs(self, raw: Mapping[str, Any], *, from_query: bool = False) -> dict[str, Any]:
        """Check the inputs of a request and convert them.

        Args:
            raw: name -> value as the client sent it; null means absent. Files may be bytes. The names of
                `RESERVED_INPUTS` have to be taken out before.
            from_query: whether every value that is no file is text, to be read by its parameter's type.

        Returns:
            Every declared input that was given or has a default.

        Raises:
            InputError: with all that is wrong.
        """
        return self.input_schema.load(raw, from_query=from_query)

    def file_kind(self, output: str) -> str | None:
        """Tell whether an output holds files, one or a list: image, audio or video; None: something else."""
        kind = str(self.outputs[output].get("type")).removesuffix("_list")
        return kind if kind in RULES else None

    def dump_outputs(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Give those of a model's outputs that the file declares, ready for JSON.

        Raises:
            OutputError: an output cannot be encoded.
        """
        return dict(self.output_schema.dump(values))

    def dump_progress_outputs(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Give those of a model's partial outputs that the file declares, ready for JSON.

        Raises:
            OutputError: an output cannot be encoded.
        """
        return dict(self.progress_schema.dump(values))

    def default_session_vars(self) -> dict[str, Any]:
        """Give what the session variables of a new session are; those without a default are absent."""
        return copy.deepcopy(dict(self.session_defaults))
