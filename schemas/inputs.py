"""Parameter tables -> the marshmallow schemas that check a request, built once."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, missing

from schemas.chat import ChatContext, TextContext
from schemas.errors import InputError, unknown_parameters
from schemas.media.limits import MediaLimits
from schemas.media.source import Reader
from schemas.parameter import Parameter
from schemas.tables import Table
from schemas.types import TYPES
from schemas.values import LONGEST_SHOWN, shown, type_name

RESERVED_INPUTS = frozenset(
    {"key", "client_session_auth_key", "wait_for_result", "cancel_on_disconnect", "webhook", "job_id"}
)
"""Names with a meaning of their own in a request."""
_PARAMETER_KEYS = """
type required default minimum min maximum max align max_length supported auto_convert title
description format color_space size resize_method keep_aspect_ratio sample_rate channels
sample_bit_depth audio_bit_rate video_bit_rate duration audio_codec video_codec input_temp_file
output_temp_file check_conversion support param frame_rate frames max_bytes max_pixels max_items quality
metadata
"""
PARAMETER_KEYS = frozenset(_PARAMETER_KEYS.split())
"""Every key that a table of some input or output may have."""
PARAMETER_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
PARAMETER_FORM = "a name: letters, digits, _ and -, starting with a letter or _, at most 64 characters"
UNKNOWN_LISTED = 100
"""Unknown parameters of one request that get an entry of their own in an error."""


@dataclass(frozen=True)
class ParameterPair:
    """One parameter, for JSON bodies and for the query of a URL, where every value is text."""

    body: Parameter
    query: Parameter


def read_parameters(
    tables: Table, limits: MediaLimits, reserved: frozenset[str] = RESERVED_INPUTS
) -> dict[str, ParameterPair]:
    """Read the tables of INPUTS or SESSION.VARS; the wrong ones are reported and left out."""
    pairs = {}
    for name in tables.values:
        table = tables.table(name)
        if not PARAMETER_NAME.fullmatch(name):
            tables.report(name, f"{shown(name)} is not {PARAMETER_FORM}")
        elif name in reserved:
            tables.report(name, "this name is reserved: it has a meaning of its own in a request")
        elif pair := _read_parameter(name, table, limits):
            pairs[name] = pair
    return pairs


def _read_parameter(name: str, table: Table, limits: MediaLimits) -> ParameterPair | None:
    type_word = table.text("type") or "string"
    if table.has_failed():
        return None
    kind = TYPES.get(type_word)
    if kind is None:
        table.report("type", no_such_type(type_word))
        return None
    rules = kind.rules(table, limits)
    required, auto_convert = table.flag("required"), table.flag("auto_convert")
    words = {key: table.text(key) for key in ("title", "description")}
    default = table.take("default")
    table.finish(PARAMETER_KEYS, f'does not apply to type "{type_word}"')
    if table.has_failed():
        return None
    if default is None:
        default = missing
    else:
        # Without auto_convert: a default that needs converting is a mistake in the file.
        try:
            default = kind(name, **rules).convert(default)
        except ValidationError as error:
            table.report("default", " ".join(map(str, error.messages)))
            return None
    common = {"required": required, "default": default, "auto_convert": auto_convert, "words": words}
    return ParameterPair(kind(name, **rules, **common), kind(name, **rules, **common, from_query=True))


def no_such_type(word: str) -> str:
    """Give the reason why a type of an input or an output is refused."""
    near = difflib.get_close_matches(word.lower(), TYPES, n=1)
    return f'unknown type "{word}": ' + (
        f'did you mean "{near[0]}"?' if near else f"known types are {', '.join(TYPES)}"
    )


class InputSchema:
    """The inputs of one endpoint: two marshmallow schemas, for JSON bodies and for queries."""

    def __init__(self, pairs: Mapping[str, ParameterPair]) -> None:
        """Build both schemas.

        Args:
            pairs: name of a parameter -> its fields.

        Attributes:
            pairs: the same.
            reads_media: whether inputs may hold files, so that `load` may take seconds.
        """
        self.pairs = pairs
        self._parameters = {name: pair.body for name, pair in pairs.items()}
        self._texts, self._chats = (
            frozenset(name for name, pair in pairs.items() if isinstance(pair.body, kind))
            for kind in (TextContext, ChatContext)
        )
        self.reads_media = any(pair.body.reads_media for pair in pairs.values())
        self._body = _schema(self._parameters)
        self._query = _schema({name: pair.query for name, pair in pairs.items()})

    def load(self, raw: Any, *, from_query: bool = False) -> dict[str, Any]:
        """Check and convert a request's inputs; see `Endpoint.load_inputs`.

        Raises:
            InputError: with all that is wrong.
        """
        if not isinstance(raw, Mapping):
            raise InputError({"inputs": [f"Expected: an object of inputs but got {type_name(raw)}!"]})
        given = {name: value for name, value in raw.items() if value is not None}
        unknown = [name for name in given if name not in self._parameters]
        schema = self._query if from_query else self._body
        errors = self._contradictions(given)
        try:
            inputs = schema.load(given)
        except ValidationError as error:
            errors = error.normalized_messages() | errors
            # A frame of marshmallow's holds the error, and the error the frame, with all inputs.
            error.__traceback__ = None
        if unknown or errors:
            raise _input_error(unknown, errors)
        return dict(inputs)

    def with_files(self, raw: Mapping[str, Any], read: Reader) -> dict[str, Any]:
        """Put files in the place of what refers to them; see `Endpoint.with_files`."""
        known = self._parameters
        return {name: known[name].with_files(v, read) if name in known else v for name, v in raw.items()}

    def _contradictions(self, given: Mapping[str, Any]) -> dict[str, list[str]]:
        if not self._chats & given.keys():
            return {}
        return {
            name: [f"Parameter {name}: a chat is given, too: send one of them!"]
            for name in given
            if name in self._texts
        }


def _input_error(unknown: list[str], errors: Mapping[str, list[str]]) -> InputError:
    # A body may hold any number of names of any length: the answer stays small.
    names = [str(name)[:LONGEST_SHOWN] for name in unknown]
    entries = {name: [unknown_parameters([name])] for name in names[:UNKNOWN_LISTED]}
    return InputError(
        {**entries, **{k: v for k, v in errors.items() if k not in entries}},
        unknown=names,
    )


def _schema(parameters: Mapping[str, Parameter]) -> Schema:
    # Attribute names of the class are made up, so that none collides with marshmallow's own ("Meta").
    return Schema.from_dict({f"input_{i}": field for i, field in enumerate(parameters.values())})(
        unknown=EXCLUDE
    )
