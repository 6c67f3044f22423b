"""Whose fault it was that a model host died. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from workers.table import Run

MAX_KILLS = 2  # hosts that a job may kill, running alone, before it is failed


def judge(running: Sequence[Run], max_kills: int = MAX_KILLS) -> tuple[list[Run], list[Run]]:
    """Decide on the runs that a host was running when it died by itself.

    Of several, nobody knows which one did it: each runs again, alone. One that was alone did it.

    Returns:
        Runs to try again, alone; runs to fail.
    """
    if len(running) != 1:
        return list(running), []
    (culprit,) = running
    culprit.kills += 1
    return ([], [culprit]) if culprit.kills >= max_kills else ([culprit], [])
