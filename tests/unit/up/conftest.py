"""An installation on paper."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from schemas import Endpoint, load_endpoints
from tasks.settings import Settings

FILE = """
[ENDPOINT]
name = "{name}"
title = "{name}"
description = "{name}"
{extra}
[WORKER]
queue = "{queue}"
{model}
[INPUTS]
text = {{ type = "string", required = true }}
[OUTPUTS]
text = {{ type = "string" }}
[EXAMPLE]
text = "it's"
"""

MakeEndpoints = Callable[..., dict[str, Endpoint]]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


@pytest.fixture
def settings(home: Path) -> Settings:
    return Settings.from_env({"STOKER_HOME": str(home)}, cwd=home.parent)


@pytest.fixture
def make_endpoints(tmp_path: Path) -> MakeEndpoints:
    """Make endpoints of (name, queue, has a model, is enabled)."""

    def make(*rows: tuple[str, str, bool, bool]) -> dict[str, Endpoint]:
        folder = tmp_path / "endpoints"
        folder.mkdir(exist_ok=True)
        for name, queue, has_model, enabled in rows:
            model = 'model = "workers.models.echo:Echo"' if has_model else ""
            extra = "" if enabled else "enabled = false"
            text = FILE.format(name=name, queue=queue, model=model, extra=extra)
            (folder / f"{name}.toml").write_text(text)
        return load_endpoints([folder])

    return make
