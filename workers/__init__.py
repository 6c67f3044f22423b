"""Jobs in, results out: what runs on a GPU machine.

`celery -A workers worker -Q <queue>` takes the Celery app from here. It is built when it is first asked
for, so that importing a module of this package reads no settings.
"""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "app":
        from workers.main import build_app

        globals()["app"] = app = build_app()
        return app
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
