"""Fields of conversations: what was said by whom, with or without images, sounds and videos."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from typing import Any

from marshmallow import ValidationError

from schemas.fields import Json, Text
from schemas.media.errors import MediaError
from schemas.media.kinds import RULES, Rules, fitted
from schemas.media.limits import MediaLimits
from schemas.media.source import Reader, Source
from schemas.media.words import in_words
from schemas.mediafields import file_schema, sentences
from schemas.tables import Table
from schemas.values import shown, type_name

ROLES = ("system", "user", "assistant")
TEXT = "text"
PROBLEMS_LISTED = 20
"""Problems of one conversation that an error tells; there may be thousands of messages."""


class ChatContext(Json):
    """Messages as a list, or as a string that holds it as JSON.

    A message is {"role": one of `ROLES`, "content": text or a list of items}. An item is {"text": ...} or, if
    the endpoint file supports it, {"image": ...}, {"audio": ...} or {"video": ...}. Other keys pass.
    """

    wanted = "chat_context (a list of messages)"
    text_format = "chat_context"

    def __init__(self, name: str, *, media: Mapping[str, Rules], max_items: int, **common: Any) -> None:
        super().__init__(name, **common)
        self.media = media
        self.max_items = max_items
        self.reads_media = bool(media)

    @classmethod
    def rules(cls, table: Table, limits: MediaLimits) -> dict[str, Any]:
        """Read the keys of this type."""
        support, media = table.take("support"), {}
        kinds = [TEXT] if support is None else support
        if not isinstance(kinds, list) or not {*map(repr, kinds)} <= {*map(repr, (TEXT, *RULES))}:
            table.report("support", f"must be a list of some of {', '.join((TEXT, *RULES))}")
            kinds = []
        limits = limits.tightened(table, "max_items")
        param = table.table("param")
        for kind in RULES:
            if kind in kinds:
                rules = param.table(kind)
                media[kind] = RULES[kind].read(rules, limits)
                rules.finish()
        param.finish(RULES, 'is not listed in "support"')
        return {"media": media, "max_items": limits.max_items}

    def with_files(self, value: Any, read: Reader) -> Any:
        """Put files in the place of what refers to them; see `Parameter.with_files`."""
        try:
            messages = super().convert(value)  # a copy
        except ValidationError:
            return value
        if not isinstance(messages, list) or self._count(messages) > self.max_items:
            return value
        for item in (item for message in messages for item in _items(message)):
            for kind in self.media.keys() & item:
                if isinstance(item[kind], str):
                    item[kind] = read(item[kind], self.media[kind].limits.max_bytes)
        return _Conversation(messages)

    def json_schema(self) -> dict[str, Any]:
        """See `Parameter.json_schema`."""
        kinds = {TEXT: {"type": "string"}, **{kind: file_schema(kind) for kind in self.media}}
        items = [
            {"type": "object", "required": [kind], "properties": {kind: value}}
            for kind, value in kinds.items()
        ]
        item = items[0] if len(items) == 1 else {"oneOf": items}
        content = {"anyOf": [{"type": "string"}, {"type": "array", "items": item}]}
        role = {"type": "string", "enum": list(ROLES)}
        message = {
            "type": "object",
            "required": ["role", "content"],
            "properties": {"role": role, "content": content},
        }
        return {"type": "array", "items": message}

    def limits(self) -> list[str]:
        """See `Parameter.limits`."""
        files = [f"at most {self.max_items} files"] if self.media else []
        return [
            *super().limits(),
            *files,
            *(f"{kind}: {rule}" for kind, rules in self.media.items() for rule in in_words(rules)),
        ]

    def convert(self, value: Any) -> list[Any]:
        """Check the messages and convert the files in them; see `Parameter.convert`."""
        if isinstance(value, str) and not value.strip():
            raise ValidationError(
                f"Invalid argument {self.title}={shown(value)}. Expected: {self.wanted}, but it is empty!"
            )
        messages = list(value) if isinstance(value, _Conversation) else super().convert(value)
        if not isinstance(messages, list):
            self.refuse_type(messages)
        problems = list(islice(self._told(messages, self._check), PROBLEMS_LISTED))
        count = self._count(messages)
        if count > self.max_items:
            problems.append(f"Parameter {self.title}: holds {count} files: at most {self.max_items} allowed!")
        if not problems:
            problems = list(islice(self._told(messages, self._fit), PROBLEMS_LISTED))
        if problems:
            raise ValidationError(problems[:PROBLEMS_LISTED])
        return messages

    def _count(self, messages: list[Any]) -> int:
        return sum(1 for message in messages for item in _items(message) if self.media.keys() & item)

    def _told(self, messages: list[Any], look: Callable[[Any, str], Iterator[str]]) -> Iterator[str]:
        for number, message in enumerate(messages):
            yield from look(message, f"{self.title}[{number}]")

    def _check(self, message: Any, place: str) -> Iterator[str]:
        if not isinstance(message, dict):
            yield f"Parameter {place}: must be an object with role and content, not {type_name(message)}!"
            return
        role, content = message.get("role"), message.get("content")
        if role not in ROLES:
            yield f"Parameter {place}: role {shown(role)} is unknown: only {', '.join(ROLES)}!"
        if isinstance(content, list):
            for index, item in enumerate(content):
                yield from self._check_item(item, f"Parameter {place}.content[{index}]")
        elif not isinstance(content, str):
            wrong = type_name(content)
            yield f"Parameter {place}: content must be a string or a list of items, not {wrong}!"

    def _check_item(self, item: Any, place: str) -> Iterator[str]:
        if not isinstance(item, dict):
            yield f"{place}: must be an object, not {type_name(item)}!"
            return
        kinds = [kind for kind in (TEXT, *RULES) if kind in item]
        supported = ", ".join((TEXT, *self.media))
        if len(kinds) != 1:
            yield f"{place}: must have just one of {supported}!"
        elif kinds[0] != TEXT and kinds[0] not in self.media:
            yield f"{place}: {kinds[0]} is not supported on this endpoint: only {supported}!"
        elif not isinstance(item[kinds[0]], str if kinds[0] == TEXT else Source):
            yield f"{place}: {kinds[0]} must be a string, not {type_name(item[kinds[0]])}!"

    def _fit(self, message: dict[str, Any], place: str) -> Iterator[str]:
        for index, item in enumerate(_items(message)):
            for kind in self.media.keys() & item:
                try:
                    item[kind] = fitted(item[kind], kind, self.media[kind])
                except MediaError as error:
                    yield from sentences(f"{place}.content[{index}].{kind}", error)


class TextContext(Text):
    """A conversation as plain text; refused in a request that also has a `ChatContext`."""

    wanted = "text_context"


class _Conversation(list[Any]):
    """Messages that are JSON but for the files in them, which may be bytes."""


def _items(message: Any) -> list[dict[str, Any]]:
    content = message.get("content") if isinstance(message, dict) else None
    return [item for item in content if isinstance(item, dict)] if isinstance(content, list) else []
