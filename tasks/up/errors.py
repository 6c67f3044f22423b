"""What keeps `stoker up` from starting."""

from __future__ import annotations

from tasks.errors import StokerError


class UpError(StokerError):
    """`stoker up` cannot start, or cannot go on.

    Attributes:
        problems: one sentence for each reason; each says what to do about it.
    """

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))
