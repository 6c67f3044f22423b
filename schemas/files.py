"""Finding and reading endpoint files."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from schemas.endpoint import Endpoint
from schemas.endpointfile import read_endpoint
from schemas.errors import EndpointFileError, Problem
from schemas.media.limits import MediaLimits

SHIPPED = Path(__file__).resolve().parent / "endpoints"
"""Folder of the endpoint files that come with the server."""
SHIPPED_IMAGE = SHIPPED / "image"
"""Folder of those that come along, too, and need weights."""
OPTIONAL = {"STOKER_SD_MODEL": SHIPPED_IMAGE}
"""Folders of endpoint files that are offered only where a setting names their weights."""
AIME_NAME = "aime_api_endpoint.cfg"
"""Name of AIME's endpoint files: one per folder, at any depth."""


def load_endpoints(folders: Sequence[Path], limits: MediaLimits = MediaLimits()) -> dict[str, Endpoint]:
    """Load every endpoint file of some folders.

    Args:
        folders: each is searched for `*.toml` in itself and for `aime_api_endpoint.cfg` at any
            depth. A file that is found twice counts once.
        limits: of the server for images, sounds and videos; the files may tighten them.

    Returns:
        Endpoint name -> endpoint, in the order of folders and of file names.

    Raises:
        EndpointFileError: with every problem of every file.
    """
    problems: list[Problem] = []
    endpoints: dict[str, Endpoint] = {}
    places: dict[str, Path] = {}
    for path in _unique(_find(folders, problems)):
        values = _read_toml(path, problems)
        if values is None:
            continue
        name = _name(values)
        if name is not None and name in places:
            reason = f'"{name}" is already the name of the endpoint in {places[name]}'
            problems.append(Problem(path, "ENDPOINT", "name", reason))
        elif name is not None:
            places[name] = path
        endpoint = read_endpoint(values, path, problems, limits)
        if endpoint is not None:
            endpoints.setdefault(endpoint.name, endpoint)
    if problems:
        raise EndpointFileError(problems)
    return endpoints


def _find(folders: Sequence[Path], problems: list[Problem]) -> Iterator[Path]:
    for folder in map(Path, folders):
        if not folder.is_dir():
            reason = "is not a folder" if folder.exists() else "this folder of endpoint files does not exist"
            problems.append(Problem(folder, "", None, reason))
            continue
        # Hidden files are an editor's.
        yield from sorted(path for path in folder.glob("*.toml") if not path.name.startswith("."))
        yield from sorted(folder.rglob(AIME_NAME))


def _unique(paths: Iterator[Path]) -> Iterator[Path]:
    seen = set()
    for path in paths:
        real = os.path.realpath(path)
        if real not in seen:
            seen.add(real)
            yield path


def _read_toml(path: Path, problems: list[Problem]) -> dict[str, Any] | None:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        problems.append(Problem(path, "", None, f"cannot be read: {error.strerror or error}"))
    except UnicodeDecodeError:
        problems.append(Problem(path, "", None, "is not UTF-8 text"))
    except (ValueError, RecursionError) as error:
        problems.append(Problem(path, "", None, f"is not valid TOML: {error}"))
    return None


def _name(values: dict[str, Any]) -> str | None:
    table = values.get("ENDPOINT")
    name = table.get("name") if isinstance(table, dict) else None
    return name if isinstance(name, str) else None
