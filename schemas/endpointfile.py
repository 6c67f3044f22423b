"""One endpoint file, read as TOML -> one Endpoint, or the list of all that is wrong with it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from marshmallow import missing

from schemas.endpoint import Endpoint
from schemas.errors import InputError, Problem
from schemas.inputs import InputSchema, read_parameters
from schemas.media.limits import MediaLimits
from schemas.outputs import RESERVED_OUTPUTS, read_outputs
from schemas.tables import Table
from schemas.values import shown, type_name

_RESERVED_NAMES = """
admin api docs favicon favicon.ico healthz jobs keys login logout metrics openapi openapi.json
playground progress readyz robots.txt static stream_progress uploads v1 worker_check_server_status
worker_job_progress worker_job_request worker_job_result worker_login
"""
RESERVED_NAMES = frozenset(_RESERVED_NAMES.split())
"""Words that already have a meaning as the first part of a URL's path."""
METHODS = ("GET", "POST")
SHARE = 64  # jobs
ENDPOINT_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
QUEUE_NAME = re.compile(r"(?!amq\.)(?!.*\.(?:high|bulk)$)[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
MODEL_NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*:[A-Za-z_]\w*", re.ASCII)


def read_endpoint(
    values: Mapping[str, Any], path: Path, problems: list[Problem], limits: MediaLimits
) -> Endpoint | None:
    """Read one endpoint file.

    Args:
        values: the file as TOML gave it.
        path: the file.
        problems: where all that is wrong is added.
        limits: of the server for images, sounds and videos.

    Returns:
        The endpoint, or None when the file has a problem.
    """
    before = len(problems)
    top = Table(values, "", path, problems)
    settings = _read_endpoint_table(top.table("ENDPOINT"))
    settings |= _read_worker_table(top.table("WORKER"), values.get("INPUTS"))
    in_clients, clients = _read_clients_table(top.table("CLIENTS"))
    settings |= clients
    if settings["client_share"] is None:
        settings["client_share"] = max(SHARE, 2 * (settings["max_batch_size"] or 1))
    settings["provide_worker_meta_data"] |= in_clients
    settings |= _read_values(top, limits)
    top.ignore("STATIC", "JINJA")
    top.finish()
    return Endpoint(path=path, **settings) if len(problems) == before else None


def _read_endpoint_table(table: Table) -> dict[str, Any]:
    form = (
        "a name for a URL: letters, digits, _ and -, starting with a letter or digit, at most 64 characters"
    )
    name = table.text("name", pattern=ENDPOINT_NAME, form=form)
    if "name" not in table.values:
        table.report("name", "is missing")
    elif name in RESERVED_NAMES:
        table.report("name", f'"{name}" is reserved: the server uses this path itself')
    title = table.text("title") or name
    settings = {
        "name": name,
        "title": title,
        "description": table.text("description") or title,
        "category": table.text("category"),
        "version": table.integer("version"),
        "methods": _read_methods(table),
        "demo_url": table.text("demo_url"),
        "enabled": table.flag("enabled", True),
        "max_queue_length": table.integer("max_queue_length", default=1000, at_least=1),
        "max_queued_bytes": table.integer("max_queued_bytes", at_least=0),
        "max_time_in_queue": table.number("max_time_in_queue", default=3600, above=0),
        "result_lifetime": table.number("result_lifetime", default=900, above=0),
        "cancel_on_disconnect": table.flag("cancel_on_disconnect"),
        "allow_urls": table.flag("allow_urls"),
        "provide_worker_meta_data": table.flag("provide_worker_meta_data"),
    }
    table.ignore("example")  # read with the inputs, by whose rules it is checked
    table.ignore("job_inactivity_timeout")  # AIME's
    table.finish()
    return settings


def _read_methods(table: Table) -> tuple[str, ...]:
    methods = table.take("methods", "http_methods")
    if methods is None:
        return METHODS
    if not isinstance(methods, list) or not methods:
        table.report("methods", 'must be a list of "GET" and "POST"')
        return METHODS
    given = [method.upper() if isinstance(method, str) else method for method in methods]
    for method in given:
        if method not in METHODS:
            table.report("methods", f'{shown(method)} is not possible: only "GET" and "POST" are')
    return tuple(method for method in METHODS if method in given)


def _read_worker_table(table: Table, inputs: object) -> dict[str, Any]:
    queue = table.text(
        "queue",
        "job_type",
        pattern=QUEUE_NAME,
        form=(
            "a queue's name: letters, digits, _, . and -, at most 128 characters, "
            'not starting "amq." and not ending ".high" or ".bulk"'
        ),
    )
    if not {"queue", "job_type"} & table.values.keys():
        table.report(
            "queue",
            "is missing: name the queue of the workers that serve this endpoint",
        )
    model = table.text("model", pattern=MODEL_NAME, form='of the form "package.module:Class"')
    settings = {
        "queue": queue,
        "model": model,
        "max_batch_size": table.integer("max_batch_size", default=1, at_least=1),
        "max_wait": table.number("max_wait", default=0.0, at_least=0),
        "group_by": _read_group_by(table, inputs),
        "max_batch_cost": table.number("max_batch_cost", above=0),
        "max_runtime": table.number("max_runtime", default=600, above=0),
        "max_load_time": table.number("max_load_time", default=1800, above=0),
        "max_jobs_per_host": table.integer("max_jobs_per_host", at_least=1),
        "max_memory": table.number("max_memory", above=0),
    }
    # AIME's words for its own workers.
    table.ignore("auth_key", "request_timeout")
    table.finish()
    return settings


def _read_group_by(table: Table, inputs: object) -> tuple[str, ...]:
    names = table.take("group_by")
    if names is None:
        return ()
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        table.report("group_by", "must be a list of names of inputs")
        return ()
    known = inputs if isinstance(inputs, dict) else {}
    for name in names:
        if name not in known:
            table.report("group_by", f"{shown(name)} is none of the inputs")
    return tuple(names)


def _read_clients_table(table: Table) -> tuple[bool, dict[str, Any]]:
    keys = table.table("authorization_keys")
    for name, key in keys.values.items():
        if not name.isprintable():  # it stands in logs and tables, and a database may not take it
            keys.report(name, "is no name of a client: it must have printable characters only")
        # The text never repeats the value: it is a secret.
        if not isinstance(key, str):
            keys.report(name, f"must be a string (an API key), not {type_name(key)}")
        elif not key.strip():
            keys.report(name, "is an empty API key")
    settings = {
        "authorization_keys": dict(keys.values),
        # 0 stands for "no limit", as an absent key does.
        "client_request_limit": table.integer("client_request_limit", at_least=0) or None,
        "client_share": table.integer("client_share", at_least=0),
        "client_bytes_per_day": table.integer("client_bytes_per_day", at_least=0) or None,
        "client_seconds_per_day": table.integer("client_seconds_per_day", at_least=0) or None,
    }
    in_clients = table.flag("provide_worker_meta_data")
    table.ignore("authorization")  # of older files of AIME
    table.finish()
    return in_clients, settings


def _read_values(top: Table, limits: MediaLimits) -> dict[str, Any]:
    inputs, outputs = top.table("INPUTS"), top.table("OUTPUTS")
    progress, session = top.table("PROGRESS"), top.table("SESSION")
    partial, variables = progress.table("OUTPUTS"), session.table("VARS")
    before = len(top.problems)
    schema = InputSchema(read_parameters(inputs, limits))
    inputs_are_right = len(top.problems) == before
    settings = {
        "inputs": inputs.values,
        "outputs": outputs.values,
        "progress_outputs": partial.values,
        "session_vars": variables.values,
        "example": _read_example(top, schema if inputs_are_right else None),
        "input_schema": schema,
        "output_schema": read_outputs(outputs, RESERVED_OUTPUTS),
        "progress_schema": read_outputs(partial),
        "session_defaults": _read_session_defaults(variables, inputs, limits),
    }
    progress.finish()
    session.finish()
    return settings


def _read_session_defaults(variables: Table, inputs: Table, limits: MediaLimits) -> dict[str, Any]:
    for name in variables.values.keys() & inputs.values.keys():
        variables.report(name, "is also an input: the model could see only one of them")
    return {
        name: pair.body.default
        for name, pair in read_parameters(variables, limits).items()
        if pair.body.default is not missing
    }


def _read_example(top: Table, schema: InputSchema | None) -> Mapping[str, Any] | None:
    short = top.values.get("ENDPOINT")
    places = [(top, "EXAMPLE")]
    if isinstance(short, dict) and "example" in short:
        places.append((Table(short, "ENDPOINT", top.file, top.problems), "example"))
    tables = [holder.table(key) for holder, key in places if key in holder.values]
    if not tables:
        top.ignore("EXAMPLE")
        return None
    if len(tables) > 1:
        tables[0].report(None, "the example stands twice: keep this table or ENDPOINT.example")
    if schema is not None:
        try:
            schema.load(tables[0].values)
        except InputError as error:
            for name, texts in error.errors.items():
                tables[0].report(name, " ".join(texts))
    return tables[0].values
