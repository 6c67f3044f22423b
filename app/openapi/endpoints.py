"""What is said of the routes of one endpoint: made from its file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from marshmallow import missing

from app.openapi.operation import Answer, Input, Key, Operation, Schema, record, ref, said
from app.openapi.routes import JOB_ID
from app.openapi.shapes import FLAG, MAYBE_TEXT, TIMES, VERSION, YES, progress
from app.openapi.shapes import JOB_ID as JOB_ID_SCHEMA
from app.webhooks import WEBHOOK
from schemas import Endpoint
from schemas.inputs import ParameterPair
from schemas.outputs import Output, OutputSchema

_SUBMIT = """{description}

The answer is held back until the job has ended, at most for the time that the server allows or
`Prefer: wait=<seconds>` says; then it is 202 with how the job stands, and the job goes on. With
`wait_for_result: false` the answer comes at once, with the id of the job alone.{session}{disabled}"""
_SESSION = "\n\nThe endpoint keeps values for each client session, by a cookie `session`."
_DISABLED = "\n\nThe endpoint is disabled: it takes no requests."
_LIMITED = ("too_many_requests", "too_many_jobs", "day_limit_reached", "queue_full", "overloaded")
_REPEATED = ("idempotency_key_malformed", "idempotency_key_reused", "request_in_progress", "job_not_found")
_OUTCOMES = ("job_failed", "lapsed", "canceled", "still_running")
_PARTS = ("broker_unavailable", "store_unavailable", "conversion_busy", "endpoint_disabled")


def endpoint_operations(endpoint: Endpoint) -> Mapping[str, Operation]:
    """Give the operations of an endpoint by their methods and rule."""
    return {
        f"{' '.join(reversed(endpoint.methods))} /<endpoint:endpoint>": _submit(endpoint),
        "GET POST /<endpoint:endpoint>/progress": _progress(endpoint),
        "GET POST /<endpoint:endpoint>/login": _login(endpoint),
    }


def endpoint_schemas(endpoint: Endpoint) -> dict[str, Schema]:
    """Give the schemas of an endpoint's bodies, besides that of its inputs, by their names."""
    head = {"success": YES, "job_id": JOB_ID_SCHEMA, "ep_version": VERSION}
    worker = {"auth": MAYBE_TEXT, "worker_interface_version": MAYBE_TEXT}
    meta = worker if endpoint.provide_worker_meta_data else {}
    properties = {**head, **_outputs(endpoint.output_schema), **meta, **TIMES}
    result = record(tuple(head), **properties)
    states = {"type": "string", "enum": ["queued", "processing", "done"]}
    standing = record(
        (*head, "job_state"),
        **head,
        job_state=said(states, "Also of a job that failed: `done`."),
        progress=progress(record(**_outputs(endpoint.progress_schema))),
        job_result=said(
            {"anyOf": [ref(f"{endpoint.name}.result"), ref("Failure")]}, "Once the job has ended."
        ),
    )
    return {f"{endpoint.name}.result": result, f"{endpoint.name}.progress": standing}


def endpoint_inputs(endpoint: Endpoint) -> tuple[Input, ...]:
    """Give the inputs that the endpoint's file declares."""
    return tuple(_input(name, pair) for name, pair in endpoint.input_schema.pairs.items())


def _submit(endpoint: Endpoint) -> Operation:
    session = ("Set-Cookie",) if endpoint.session_vars else ()
    return Operation(
        id=f"{endpoint.name}.submit",
        tag=endpoint.name,
        summary=f"{endpoint.title}: submit a job",
        description=_SUBMIT.format(
            description=endpoint.description,
            session=_SESSION if session else "",
            disabled="" if endpoint.enabled else _DISABLED,
        ),
        inputs=(*endpoint_inputs(endpoint), *_flags(endpoint)),
        closed=True,
        inputs_name=f"{endpoint.name}.inputs",
        example=endpoint.example,
        key_in_body=True,
        headers=("Idempotency-Key", "Prefer"),
        answers={
            200: Answer(
                description="The job has ended well; or, with `wait_for_result: false`, it was accepted.",
                schema=ref(f"{endpoint.name}.result"),
                headers=("Preference-Applied", "RateLimit-Policy", *session),
                follows_job=True,
            ),
            202: Answer(
                description="The job was accepted and has not ended yet.",
                schema=ref("Job"),
                headers=("Location", "Preference-Applied", "RateLimit-Policy", *session),
                follows_job=True,
            ),
        },
        codes=("invalid_input", "not_authorized", *_LIMITED, *_REPEATED, *_OUTCOMES, *_PARTS),
    )


def _progress(endpoint: Endpoint) -> Operation:
    return Operation(
        id=f"{endpoint.name}.progress",
        tag=endpoint.name,
        summary=f"{endpoint.title}: tell how a job stands, or its result",
        inputs=(JOB_ID,),
        answers={200: Answer(description="How it stands.", schema=ref(f"{endpoint.name}.progress"))},
        codes=(
            "not_authorized",
            "job_id_missing",
            "job_not_found",
            "lapsed",
            "canceled",
            "store_unavailable",
        ),
    )


def _login(endpoint: Endpoint) -> Operation:
    return Operation(
        id=f"{endpoint.name}.login",
        tag=endpoint.name,
        summary=f"{endpoint.title}: get a session token for the key",
        key=Key.NEEDED,
        answers={200: Answer(description="The token.", schema=ref("Session"))},
        codes=("not_authorized",),
    )


def _input(name: str, pair: ParameterPair) -> Input:
    field = pair.body
    words = [text for text in (field.metadata["title"], field.metadata["description"]) if text]
    limits = "; ".join([*field.limits(), *(["anything else is bent to fit"] if field.auto_convert else [])])
    default: dict[str, Any] = {} if field.default is missing else {"default": field.default}
    return Input(
        name=name,
        schema=field.json_schema() | default,
        description="\n\n".join([*words, *([limits] if limits else [])]),
        required=field.required,
        text=pair.query.json_schema() | default,
        part=pair.query.part_schema() | default,
    )


def _flags(endpoint: Endpoint) -> Iterable[Input]:
    return (
        Input(
            name="wait_for_result",
            schema=FLAG | {"default": True},
            description="Whether the answer is held back until the job has ended.",
        ),
        Input(
            name="cancel_on_disconnect",
            schema=FLAG | {"default": endpoint.cancel_on_disconnect},
            description="Whether the job is canceled if the client hangs up while its answer is held back.",
        ),
        Input(
            name=WEBHOOK,
            schema=ref("Webhook"),
            text={"type": "string", "format": "uri"},
            description="Server that is told of the job.",
        ),
    )


def _outputs(schema: OutputSchema) -> dict[str, Schema]:
    fields = [field for field in schema.fields.values() if isinstance(field, Output)]
    return {str(field.data_key): said(field.json_schema(), _words(field)) for field in fields}


def _words(field: Output) -> str:
    return "\n\n".join(text for text in (field.metadata["title"], field.metadata["description"]) if text)
