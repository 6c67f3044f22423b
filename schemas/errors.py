"""The errors of endpoint files and of the values that they describe.

SchemaError
├── EndpointFileError   endpoint files are wrong: the start stops
├── InputError          a client's inputs break the endpoint's rules: the client's mistake
└── OutputError         a model gave an output that cannot be sent: the model's mistake
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from schemas.values import LONGEST_SHOWN

NAMES_LISTED = 20
"""How many parameters one message names; a body may hold any number of them."""


class SchemaError(Exception):
    """Base of the errors of this package."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in one endpoint file.

    Attributes:
        file: the endpoint file, or the folder that was looked for.
        table: dotted name of the TOML table, e.g. `INPUTS.width`; "" for the file as a whole.
        key: the key in that table; None where the table itself is meant.
        reason: what is wrong, and what would be right.
    """

    file: Path
    table: str
    key: str | None
    reason: str

    def __str__(self) -> str:
        place = f" [{self.table}]" if self.table else ""
        return f"{self.file}:{place} {f'{self.key}: ' if self.key else ''}{self.reason}"


class EndpointFileError(SchemaError):
    """Endpoint files are wrong; the text has one line for each problem of each file.

    Attributes:
        problems: every problem of every file.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


class InputError(SchemaError):
    """Inputs break the rules of their endpoint.

    Attributes:
        errors: name of an input -> the sentences that say what is wrong with it.
        messages: all sentences in one list; unknown parameters come first, in one sentence.
    """

    def __init__(self, errors: Mapping[str, Sequence[str]], unknown: Collection[str] = ()) -> None:
        """Make the error.

        Args:
            errors: name of an input -> what is wrong with it.
            unknown: those names in `errors` that the endpoint does not know.
        """
        self.errors: dict[str, list[str]] = {name: list(texts) for name, texts in errors.items()}
        self.messages: list[str] = [unknown_parameters(unknown)] if unknown else []
        for name, texts in self.errors.items():
            if name not in unknown:
                self.messages += texts
        super().__init__(" ".join(self.messages))


class OutputError(SchemaError):
    """A model's output cannot be sent as JSON.

    Attributes:
        field: name of the output; of a list with the place, as "images[1]".
        reason: what is wrong with it.
    """

    def __init__(self, field: str, reason: str) -> None:
        self.field = field
        self.reason = reason
        super().__init__(f'Output "{field}": {reason}')


def unknown_parameters(names: Collection[str]) -> str:
    """Give the sentence that refuses parameters which an endpoint does not have."""
    return f"Invalid input parameter(s): {listed(names)}"


def listed(names: Collection[str]) -> str:
    """Give names of a client's as an error text lists them; there may be any number of any length."""
    first = ", ".join(name[:LONGEST_SHOWN] for name in islice(names, NAMES_LISTED))
    return first + (f" and {len(names) - NAMES_LISTED} more" if len(names) > NAMES_LISTED else "")
