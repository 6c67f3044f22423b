"""Asks the API whether the installation is ready, and says how to try it."""

from __future__ import annotations

import http.client
import json
import shlex
from collections.abc import Mapping
from pathlib import Path

from schemas import Endpoint
from tasks.settings import Settings
from tasks.up.programs import metrics_ports

TIMEOUT = 5.0  # s for one answer
ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}


def missing(settings: Settings) -> list[str]:
    """Ask `GET /readyz` what is missing; nothing, if the installation is ready."""
    host = ANY_ADDRESS.get(settings.host, settings.host)
    connection = http.client.HTTPConnection(host, settings.port, timeout=TIMEOUT)  # no proxy: it is here
    try:
        connection.request("GET", "/readyz")
        answer = connection.getresponse()
        body = json.loads(answer.read())
    except (OSError, http.client.HTTPException, ValueError):
        return ["The API does not answer"]
    finally:
        connection.close()
    if answer.status == 200:
        return []
    return [str(part) for part in body.get("error", [])] or [f"GET /readyz answers {answer.status}"]


def url(host: str, port: int) -> str:
    """Give the address by which this machine reaches a server that listens on `host`."""
    host = ANY_ADDRESS.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def banner(settings: Settings, endpoints: Mapping[str, Endpoint], start: Path, key: str | None) -> list[str]:
    """Give the lines that say that all runs, where, and how to try it.

    Args:
        settings: how this installation runs.
        endpoints: all endpoints by name.
        start: folder that `stoker up` was started in; paths in it are shown relative to it.
        key: the demo key; None: there is none; empty: it is not to be shown.
    """
    flower_password = "STOKER_FLOWER_PASSWORD"
    if settings.flower_password is None:
        flower_password = f"the password in {shown(settings.home / 'flower-password', start)}"
    lines = [
        "Stoker is ready.",
        f"  API       {url(settings.host, settings.port)}  (described at /docs)",
        f"  Flower    {url(settings.flower_host, settings.flower_port)}  (user stoker, {flower_password})",
        f"  Logs      {shown(settings.home / 'log', start)}",
    ]
    for queue, port in metrics_ports(settings, endpoints).items():
        lines.append(f"  Metrics   {url(settings.metrics_host, port)}/metrics  (worker-{queue})")
    if key is not None:
        file = shown(settings.demo_key_file, start)
        lines.append(f"  Demo key  {key}  (in {file})" if key else f"  Demo key  in {file}")
    if line := _curl(settings, endpoints, start, key is not None):
        lines += ["Try it:", f"  {line}"]
    return [*lines, "Ctrl-C stops everything."]


def shown(path: Path, start: Path) -> str:
    """Give `path` as one would type it in the folder `start`."""
    return str(path.relative_to(start) if path.is_relative_to(start) else path)


def _curl(settings: Settings, endpoints: Mapping[str, Endpoint], start: Path, demo: bool) -> str | None:
    """Give a command that calls an endpoint with its example; `embed` if it is there."""
    usable = {n: e for n, e in sorted(endpoints.items()) if e.enabled and e.model and e.example is not None}
    endpoint = usable.get("embed") or next(iter(usable.values()), None)
    if endpoint is None:
        return None
    key = f"$(cat {shlex.quote(shown(settings.demo_key_file, start))})" if demo else "$YOUR_KEY"
    body = shlex.quote(json.dumps(dict(endpoint.example or {}), ensure_ascii=False))
    address = f"{url(settings.host, settings.port)}/{endpoint.name}"
    return (
        f'curl {shlex.quote(address)} -H "Authorization: Bearer {key}" '
        f"-H 'Content-Type: application/json' -d {body}"
    )
