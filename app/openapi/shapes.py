"""Headers, credentials and bodies that several operations share."""

from __future__ import annotations

from app.headers import REQUEST_ID
from app.openapi.operation import Schema, record, ref, said
from tasks.jobs import JobState
from tasks.webhooks.hook import EVENTS

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
WHOLE: Schema = {"type": "integer"}
FLAG: Schema = {"type": "boolean"}
MAYBE_TEXT: Schema = {"type": ["string", "null"]}
MAYBE_NUMBER: Schema = {"type": ["number", "null"]}
OPEN: Schema = {"type": "object"}
YES: Schema = {"type": "boolean", "const": True}
VERSION = said({"type": ["integer", "null"]}, "Version of the endpoint's inputs and outputs.")
JOB_ID = said(TEXT, "Id of the job.")

SECURITY = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "description": "An API key, or a session token from `/<endpoint>/login`. The preferred way.",
    },
    "key": {
        "type": "apiKey",
        "in": "query",
        "name": "key",
        "description": "The same as a parameter, in the body of a POST, too. URLs end up in logs: "
        "prefer the header.",
    },
    "client_session_auth_key": {
        "type": "apiKey",
        "in": "query",
        "name": "client_session_auth_key",
        "description": "The same by the name that AIME's clients use. Of several credentials the header "
        "counts first, then `key`, then this.",
    },
}
KEY_INPUTS = {
    "key": said(MAYBE_TEXT, "API key or session token; prefer the header `Authorization`."),
    "client_session_auth_key": said(MAYBE_TEXT, "The same by another name."),
}
"""Credentials in the body of a POST."""

REQUEST_HEADERS: dict[str, tuple[Schema, str]] = {
    "Idempotency-Key": (
        {"type": "string", "minLength": 1, "maxLength": 255, "pattern": r"^[!#-\[\]-~]+$"},
        "The client's own name of this request, such as a UUID. Sent again with it within a day, the request "
        "stands for the same job.",
    ),
    "Prefer": (
        {"type": "string", "examples": ["wait=10", "respond-async"]},
        "`wait=<seconds>`: hold the answer back for so long at most. `respond-async`: do not hold it back.",
    ),
    "Last-Event-ID": (TEXT, "The id of the last event that was seen: the stream goes on after it."),
    "If-None-Match": (TEXT, "The `ETag` of the copy that the client has."),
    "Range": ({"type": "string", "examples": ["bytes=0-1023"]}, "The part that is wanted, one only."),
    "If-Range": (
        TEXT,
        "The `ETag` of the copy that the client has a part of; of another one comes the whole.",
    ),
}
HEADERS: dict[str, tuple[Schema, str]] = {
    REQUEST_ID: (
        TEXT,
        "The id of the request: its own, if that is up to 64 letters, digits, `.`, `_` or `-`.",
    ),
    "Accept-Ranges": (TEXT, "`bytes`"),
    "Allow": (TEXT, "The methods of the route."),
    "Content-Disposition": (TEXT, "A name for the file."),
    "Content-Range": (TEXT, "Which part it is, of how many bytes."),
    "ETag": (TEXT, "Changes with the content."),
    "Location": (TEXT, "Where to ask how the job stands, or about the upload."),
    "Preference-Applied": (TEXT, "What was made of `Prefer`."),
    "RateLimit": (TEXT, "The limit that is exhausted; draft-ietf-httpapi-ratelimit-headers."),
    "RateLimit-Policy": (TEXT, "The limits that hold for the client; draft-ietf-httpapi-ratelimit-headers."),
    "Retry-After": (WHOLE, "Seconds after which another try makes sense."),
    "Set-Cookie": (TEXT, "The session: clients that keep it keep their session variables."),
    "WWW-Authenticate": (TEXT, "`Bearer`"),
}

TIMES = {
    "start_time": said(NUMBER, "When the job was accepted; seconds since 1970."),
    "start_time_compute": said(MAYBE_NUMBER, "When a batch with it started on the model; null: it has not."),
    "result_received_time": said(NUMBER, "When its outcome was known."),
    "compute_duration": said(MAYBE_NUMBER, "Seconds from `start_time_compute` to the outcome."),
    "total_duration": said(NUMBER, "Seconds from `start_time` to the outcome."),
}
_STATES = said(
    {"type": "string", "enum": [state.value for state in JobState]}, "Where the job is in its life."
)
_WORKER = record(
    "*",
    name=TEXT,
    state={"type": "string", "enum": ["waiting", "processing"]},
    max_batch_size=WHOLE,
    free_slots=WHOLE,
    gpu_name=MAYBE_TEXT,
    num_gpus={"type": ["integer", "null"]},
    framework=MAYBE_TEXT,
    framework_version=MAYBE_TEXT,
    pytorch_version=MAYBE_TEXT,
    model={"type": "object", "additionalProperties": MAYBE_TEXT},
)
_DELIVERY = record(
    "*",
    id=said(TEXT, "Its `webhook-id`."),
    type={"type": "string", "enum": [f"job.{event}" for event in sorted(EVENTS)]},
    url=said(TEXT, "Where it goes, without the query."),
    state={"type": "string", "enum": ["pending", "delivered", "failed", "gone"]},
    attempts=WHOLE,
    last_status=said({"type": ["integer", "null"]}, "What the server answered last."),
    last_error=MAYBE_TEXT,
    created=NUMBER,
    next_attempt=MAYBE_NUMBER,
)
_UPLOAD = {
    "id": said(TEXT, "`upload:<id>` stands for the file wherever an input takes one."),
    "bytes": WHOLE,
    "content_type": said(TEXT, "What the bytes of the file tell."),
    "expires": said(NUMBER, "When it is forgotten; seconds since 1970."),
}
_PARAMETERS = said(
    {"type": "object", "additionalProperties": OPEN},
    "Tables of the endpoint file by the name of the parameter.",
)


def progress(data: Schema) -> Schema:
    """Give the schema of the progress of a job, whose partial outputs are `data`."""
    return record(
        "*",
        progress=said(NUMBER, "Percent."),
        queue_position=said(WHOLE, "1 for the next job to run; 0 once it does not wait any more."),
        estimate=said(NUMBER, "Seconds until it will probably have ended; -1: no worker is there."),
        num_workers_online=WHOLE,
        progress_data=said(data, "Partial outputs, as far as there are any."),
    )


SCHEMAS: dict[str, Schema] = {
    "Progress": progress(OPEN),
    "Outcome": said(
        record(("success", "job_id", "ep_version"), success=FLAG, job_id=JOB_ID, ep_version=VERSION),
        "What a held answer would have been: the outputs and times, or an error.",
    ),
    "Failure": said(
        record(
            ("success", "error", "code", "job_id", "job_state", "ep_version"),
            success={"type": "boolean", "const": False},
            error={"type": "array", "items": TEXT},
            code=TEXT,
            job_id=JOB_ID,
            job_state=TEXT,
            ep_version=VERSION,
            **TIMES,
        ),
        "The outcome of a job that did not end well.",
    ),
    "Job": said(
        record(
            ("success", "job_id", "endpoint", "ep_version", "job_state", "start_time", "start_time_compute"),
            success=YES,
            job_id=JOB_ID,
            endpoint=TEXT,
            ep_version=VERSION,
            job_state=_STATES,
            start_time=TIMES["start_time"],
            start_time_compute=TIMES["start_time_compute"],
            auth=said(MAYBE_TEXT, "Name of the worker, where the endpoint tells it."),
            progress=ref("Progress"),
            job_result=ref("Outcome"),
        ),
        "How a job stands: with `progress` while it waits or runs, then with `job_result`.",
    ),
    "Message": said(
        record(
            ("data",),
            id=said(TEXT, "For `Last-Event-ID`."),
            data=said({"type": "string", "contentMediaType": "application/json"}, "The job, as JSON."),
        ),
        "One of the events of a stream, without a name.",
    ),
    "Event": said(
        record(
            ("data",),
            id=said(TEXT, "For `Last-Event-ID`."),
            event={"type": "string", "enum": ["queued", "progress", "completed", "refused"]},
            data=said(
                {"type": "string", "contentMediaType": "application/json"},
                "The job, as JSON; if the stream was refused, the error.",
            ),
        ),
        "One of the events of a stream.",
    ),
    "Webhook": {
        "anyOf": [
            said({"type": "string", "format": "uri"}, "Its URL, on the public internet."),
            record(
                ("url",),
                url={"type": "string", "format": "uri"},
                events=said(
                    {"type": "array", "items": {"type": "string", "enum": sorted(EVENTS)}, "minItems": 1},
                    "What it is told of; by default the end alone.",
                ),
            )
            | {"additionalProperties": False},
        ]
    },
    "DeliveryList": record("*", success=YES, job_id=JOB_ID, webhooks={"type": "array", "items": _DELIVERY}),
    "JobSummary": record(
        "*",
        job_id=JOB_ID,
        endpoint=TEXT,
        job_state=_STATES,
        start_time=TIMES["start_time"],
        start_time_compute=TIMES["start_time_compute"],
    ),
    "JobList": record(
        "*",
        success=YES,
        jobs={"type": "array", "items": ref("JobSummary")},
        next=said(MAYBE_TEXT, "The cursor of the next page; null: this is the last one."),
    ),
    "Upload": record("*", success=YES, **_UPLOAD),
    "UploadList": said(
        record("*", success=YES, uploads={"type": "array", "items": record("*", **_UPLOAD)}),
        "The uploads of a form with several files.",
    ),
    "UploadForgotten": record("*", success=YES, id=TEXT),
    "Session": record(
        "*",
        success=YES,
        ep_version=VERSION,
        client_session_auth_key=said(TEXT, "A session token, valid for 30 days at most."),
    ),
    "KeyValidity": record("*", success=said(FLAG, "Whether the credential is valid."), error=MAYBE_TEXT),
    "EndpointList": record("*", endpoints={"type": "array", "items": TEXT}),
    "EndpointDetails": record(
        "*",
        name=TEXT,
        title=TEXT,
        description=TEXT,
        http_methods={"type": "array", "items": TEXT},
        version=VERSION,
        max_queue_length=WHOLE,
        max_time_in_queue=said(WHOLE, "Seconds after which a job that waits lapses."),
        free_queue_slots=WHOLE,
        category=MAYBE_TEXT,
        num_active_workers=WHOLE,
        num_workers=WHOLE,
        workers={"type": "array", "items": ref("Worker")},
        parameter_description=record(
            "*", input=_PARAMETERS, output=_PARAMETERS, progress=record("*", OUTPUTS=_PARAMETERS)
        ),
    ),
    "Worker": _WORKER,
    "Health": record("*", status={"type": "string", "const": "ok"}),
    "Readiness": record(
        "*",
        ready=YES,
        store=FLAG,
        broker=FLAG,
        workers=said({"type": "object", "additionalProperties": WHOLE}, "Workers by queue."),
    ),
}
"""Bodies by their names among the components, besides those of errors and endpoints."""
