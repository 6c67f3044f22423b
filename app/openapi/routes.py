"""What is said of each route that does not belong to one endpoint: a line for each, by its rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from app.accept import EVENTS
from app.openapi.operation import Answer, Input, Key, Operation, ref
from app.openapi.shapes import TEXT
from app.status import DEFAULT_LIMIT, LARGEST_LIMIT
from tasks.history import CURSOR
from tasks.jobs import JobState

JOBS, UPLOADS, KEYS, SERVER = "Jobs", "Uploads", "Keys", "Server"
TAGS = {
    JOBS: "Jobs belong to the key that submitted them; to every other key they do not exist.",
    UPLOADS: "Files that are sent before the jobs that use them; each belongs to the key that sent it.",
    KEYS: "Credentials: API keys, and session tokens that stand for them.",
    SERVER: "What the server offers, and how it is.",
}
UNDESCRIBED = frozenset({"/static/<path:filename>"})
"""Rules that are no part of the API."""

JOB_ID = Input(
    name="job_id", schema={"type": "string", "minLength": 1}, description="Id of the job.", required=True
)
ENDPOINT_NAME = "EndpointName"
"""Name of the schema of the names of endpoints; they differ from installation to installation."""
ENDPOINT = Input(name="endpoint", schema=ref(ENDPOINT_NAME), required=True)
HTML = "text/html"

_FOLLOW = """Server-sent events, as browsers' `EventSource` reads them: `queued` whenever the place in the
queue has changed, `progress` when the job starts and whenever its model reports, and one `completed` for
whatever outcome; then the stream ends. `data` is a `Job`, the body of `GET /jobs/{job_id}`. After 15 s
without an event comes a comment. A key that is revoked or expires ends the stream by an event `refused`."""
_FOLLOW_PLAINLY = """As `GET /jobs/{job_id}/events`, by events without a name, with the fields of the
progress side by side."""
_CANCEL = """A job that waits ends at once. A running one is stopped at its model's next report, or a few
seconds later together with its model host."""
_WAIT = """With `Prefer: wait=<seconds>` the answer is held back until the job has ended, or so long."""
_STREAM = Answer(description="The events, one after another.", schema=ref("Event"), media_type=EVENTS)
_SEEN = Answer(description="The client has seen the last event: there is nothing more to come.")
_FILE = {"type": "string", "format": "binary", "minLength": 1}
_PART_HEADERS = ("Accept-Ranges", "Content-Disposition", "ETag")
_WHOLE_OUTPUT = Answer(
    description="The bytes of an image, sound or video under their own type; else text or JSON.",
    schema={"type": "string", "format": "binary"},
    media_type="*/*",
    headers=_PART_HEADERS,
)
_UPLOAD_ID = Input(name="upload_id", schema={"type": "string", "minLength": 1}, required=True)
_NOT_MODIFIED = Answer(description="The client's copy is still right.", headers=("ETag",))

_DESCRIBE = Operation(
    id="describe_endpoint",
    tag=SERVER,
    summary="Describe an endpoint: limits, workers, parameters",
    key=Key.IGNORED,
    variables=(ENDPOINT,),
    answers={200: Answer(description="The endpoint.", schema=ref("EndpointDetails"))},
    codes=("store_unavailable",),
)

_OUTPUT = Operation(
    id="get_output",
    tag=JOBS,
    summary="Give an output of a job that is done: its file, text or JSON",
    description="Of a list of files with more than one, each is asked for by its number.",
    variables=(JOB_ID, Input(name="name", schema={"type": "string", "minLength": 1}, required=True)),
    headers=("Range", "If-Range", "If-None-Match"),
    answers={
        200: _WHOLE_OUTPUT,
        206: replace(_WHOLE_OUTPUT, description="The part of it.", headers=(*_PART_HEADERS, "Content-Range")),
        304: _NOT_MODIFIED,
    },
    codes=("job_not_found", "output_not_found", "job_not_done", "range_not_satisfiable", "store_unavailable"),
)

OPERATIONS: Mapping[str, Operation] = {
    "GET /jobs": Operation(
        id="list_jobs",
        tag=JOBS,
        summary="List the jobs of the key, newest first",
        description="A page may hold fewer jobs than `limit` and still have a next one.",
        inputs=(
            Input(
                name="limit",
                schema={"type": "integer", "minimum": 1, "maximum": LARGEST_LIMIT, "default": DEFAULT_LIMIT},
                description="Jobs on a page.",
            ),
            Input(
                name="cursor",
                schema={"type": "string", "pattern": f"^{CURSOR.pattern}$"},
                description="The `next` of the page before.",
            ),
            Input(
                name="state",
                schema={"type": "string", "enum": [state.value for state in JobState]},
                description="Only jobs in this state.",
            ),
            Input(name="endpoint", schema=ref(ENDPOINT_NAME), description="Only jobs of this endpoint."),
        ),
        closed=True,
        answers={200: Answer(description="A page of jobs.", schema=ref("JobList"))},
        codes=("invalid_input", "not_acceptable", "store_unavailable"),
    ),
    "GET /jobs/<job_id>": Operation(
        id="get_job",
        tag=JOBS,
        summary="Tell how a job stands, or how it ended",
        description=_WAIT,
        variables=(JOB_ID,),
        headers=("Prefer",),
        answers={200: Answer(description="The job.", schema=ref("Job"), headers=("Preference-Applied",))},
        codes=("job_not_found", "not_acceptable", "store_unavailable"),
    ),
    "DELETE /jobs/<job_id>": Operation(
        id="cancel_job",
        tag=JOBS,
        summary="Cancel a job",
        description=_CANCEL,
        variables=(JOB_ID,),
        answers={
            200: Answer(description="It is canceled, now or before.", schema=ref("Job")),
            202: Answer(description="A worker holds it and will stop it.", schema=ref("Job")),
        },
        codes=("job_not_found", "job_ended", "not_acceptable", "store_unavailable"),
    ),
    "GET /jobs/<job_id>/events": Operation(
        id="follow_job",
        tag=JOBS,
        summary="Follow a job by server-sent events",
        description=_FOLLOW,
        variables=(JOB_ID,),
        headers=("Last-Event-ID",),
        answers={200: _STREAM, 204: _SEEN},
        codes=("job_not_found", "not_acceptable", "store_unavailable"),
    ),
    "GET /jobs/<job_id>/webhooks": Operation(
        id="list_deliveries",
        tag=JOBS,
        summary="Tell what the client's server was told of a job, and what not yet",
        variables=(JOB_ID,),
        answers={200: Answer(description="The messages.", schema=ref("DeliveryList"))},
        codes=("job_not_found", "not_acceptable", "store_unavailable"),
    ),
    "GET /jobs/<job_id>/outputs/<name>": _OUTPUT,
    "GET /jobs/<job_id>/outputs/<name>/<int:index>": replace(
        _OUTPUT,
        id="get_output_part",
        summary="Give one part of an output that is a list",
        variables=(
            *_OUTPUT.variables,
            Input(
                name="index", schema={"type": "integer", "minimum": 0}, description="From 0.", required=True
            ),
        ),
    ),
    "POST /uploads": Operation(
        id="upload",
        tag=UPLOADS,
        summary="Keep a file for jobs to come",
        description="The body is the file, whatever its type; or a `multipart/form-data` with some files.",
        body={"application/octet-stream": _FILE},
        answers={
            201: Answer(
                description="It is kept.",
                schema={"anyOf": [ref("Upload"), ref("UploadList")]},
                headers=("Location",),
            )
        },
        codes=("too_many_uploads", "store_unavailable"),
    ),
    "GET /uploads/<upload_id>": Operation(
        id="get_upload",
        tag=UPLOADS,
        summary="Describe an upload",
        variables=(_UPLOAD_ID,),
        answers={200: Answer(description="The upload.", schema=ref("Upload"))},
        codes=("upload_not_found", "store_unavailable"),
    ),
    "DELETE /uploads/<upload_id>": Operation(
        id="forget_upload",
        tag=UPLOADS,
        summary="Forget an upload; jobs that were submitted with it have it already",
        variables=(_UPLOAD_ID,),
        answers={200: Answer(description="It is forgotten.", schema=ref("UploadForgotten"))},
        codes=("upload_not_found", "store_unavailable"),
    ),
    "GET POST /stream_progress": Operation(
        id="stream_progress",
        tag=JOBS,
        summary="Follow a job by AIME's words",
        description=_FOLLOW_PLAINLY,
        inputs=(JOB_ID,),
        headers=("Last-Event-ID",),
        answers={200: replace(_STREAM, schema=ref("Message")), 204: _SEEN},
        codes=("job_id_missing", "job_not_found", "store_unavailable"),
    ),
    "GET POST /api/validate_key": Operation(
        id="validate_key",
        tag=KEYS,
        summary="Tell whether a credential is valid",
        description="A question: no is an answer, not an error.",
        key=Key.OPTIONAL,
        answers={200: Answer(description="Yes or no.", schema=ref("KeyValidity"))},
    ),
    "GET POST /api/endpoints": Operation(
        id="list_endpoints",
        tag=SERVER,
        summary="Name all endpoints or, with a key, those that it opens",
        key=Key.OPTIONAL,
        answers={200: Answer(description="The names.", schema=ref("EndpointList"))},
        codes=("key_not_valid",),
    ),
    "GET POST /api/endpoints/<endpoint:endpoint>": _DESCRIBE,
    "GET POST /api/<endpoint:endpoint>": replace(_DESCRIBE, id="describe_endpoint_by_its_other_path"),
    "GET /healthz": Operation(
        id="healthz",
        tag=SERVER,
        summary="Tell that this process lives",
        key=Key.IGNORED,
        answers={200: Answer(description="It lives.", schema=ref("Health"))},
    ),
    "GET /readyz": Operation(
        id="readyz",
        tag=SERVER,
        summary="Tell whether jobs can be done now",
        description="Store and broker answer, and every queue with a model has a worker.",
        key=Key.IGNORED,
        answers={200: Answer(description="They can.", schema=ref("Readiness"))},
        codes=("not_ready",),
    ),
    "GET /openapi.json": Operation(
        id="openapi",
        tag=SERVER,
        summary="Describe the API: OpenAPI 3.1",
        key=Key.IGNORED,
        headers=("If-None-Match",),
        answers={
            200: Answer(description="OpenAPI 3.1.", schema={"type": "object"}, headers=("ETag",)),
            304: _NOT_MODIFIED,
        },
    ),
    "GET /docs": Operation(
        id="docs",
        tag=SERVER,
        summary="Describe the API as a page",
        key=Key.IGNORED,
        headers=("If-None-Match",),
        answers={
            200: Answer(description="A page.", schema=TEXT, media_type=HTML, headers=("ETag",)),
            304: _NOT_MODIFIED,
        },
    ),
}
"""Methods and rule -> operation. Every rule of the app stands here or in `app.openapi.endpoints`."""
