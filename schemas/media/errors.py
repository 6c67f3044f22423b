"""MediaError: a file that cannot be taken."""

from __future__ import annotations

from collections.abc import Sequence


class MediaError(ValueError):
    """An image, a sound or a video breaks a limit, or cannot be read.

    Attributes:
        problems: everything that is wrong, in sentences that read on after the parameter's name and a colon,
            which the caller adds: "its width of 4000 pixels is too high: at most 2048 allowed".
    """

    def __init__(self, *problems: str) -> None:
        self.problems: list[str] = list(problems)
        super().__init__("; ".join(problems))

    @classmethod
    def raise_if(cls, problems: Sequence[str]) -> None:
        """Raise an error of all these problems, if there are any."""
        if problems:
            raise cls(*problems)
