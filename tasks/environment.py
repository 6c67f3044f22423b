"""The settings as they stand in the environment and in `stoker.toml`: nothing else reads them."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any

PREFIX = "STOKER_"
OTHER_READERS = ("STOKER_TEST_BROKER",)  # known here, read by the test suite
ORIGIN = re.compile(r"https?://([a-z0-9.-]+|\[[0-9a-f:]+\])(:[0-9]{1,5})?")


class Environment:
    """Reads settings one by one, and collects what is wrong with them.

    Attributes:
        problems: one sentence each.
    """

    def __init__(self, environ: Mapping[str, str], cwd: Path) -> None:
        self._cwd = cwd
        self.problems: list[str] = []
        self._asked: set[str] = set(OTHER_READERS)
        self._values = self._from_file(cwd / "stoker.toml")
        self._values |= {k: v for k, v in environ.items() if k.startswith(PREFIX) and v != ""}

    def _from_file(self, path: Path) -> dict[str, str]:
        try:
            table = tomllib.loads(path.read_text())
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            self.problems.append(f"{path} cannot be read: {error}")
            return {}
        return {key: self._as_text(path, key, value) for key, value in table.items()}

    def _as_text(self, path: Path, key: str, value: Any) -> str:
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return "\n".join(value)
        if isinstance(value, bool):
            return "true" if value else "false"
        if not isinstance(value, str | int | float):
            self.problems.append(
                f"{key} in {path} is a {type(value).__name__}: write a string, number or list"
            )
        return str(value)

    def _items(self, name: str, default: str = "") -> list[str]:
        return [item for item in re.split("[:\n]", self.text(name, default)) if item]

    def text(self, name: str, default: str) -> str:
        """Give a text as it stands."""
        self._asked.add(name)
        return self._values.get(name, default)

    def path(self, name: str, default: str) -> Path:
        """Give the path of a file or folder."""
        return (self._cwd / Path(self.text(name, default)).expanduser()).resolve()

    def folders(self, name: str) -> list[Path]:
        """Give the paths of folders, with colons between."""
        return [(self._cwd / part).resolve() for part in self._items(name)]

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """Give a whole number."""
        text = self.text(name, str(default))
        try:
            number = int(text)
        except ValueError:
            number = low - 1
        if not low <= number <= high:
            self.problems.append(f"{name}={text!r} is not a whole number from {low} to {high}")
        return number

    def numbers(self, name: str, default: str, low: int, high: int) -> list[int]:
        """Give whole numbers, with colons between; at least one."""
        words = self._items(name, default)
        wrong = [word for word in words if not (word.isdecimal() and low <= int(word[:20]) <= high)]
        for word in wrong or ([] if words else [""]):
            self.problems.append(f"{name}: {word!r} is not a whole number from {low} to {high}")
        return [] if wrong else [int(word) for word in words]

    def choice(self, name: str, default: str, choices: tuple[str, ...]) -> str:
        """Give one of several words."""
        text = self.text(name, default).lower()
        if text not in choices:
            self.problems.append(f"{name}={text!r} is none of {', '.join(choices)}")
        return text

    def flag(self, name: str, default: bool) -> bool:
        """Give true or false."""
        return self.choice(name, str(default).lower(), ("true", "false")) == "true"

    def words(self, name: str, known: tuple[str, ...]) -> tuple[str, ...]:
        """Give some of the known words, with colons between; at least one, and by default all."""
        words = tuple(word.lower() for word in self._items(name, ":".join(known)))
        for word in words or ("",):
            if word not in known:
                self.problems.append(f"{name}: {word!r} is none of {', '.join(known)}")
        return words

    def origins(self, name: str) -> tuple[str, ...]:
        """Give sites as a browser names them, with spaces between; `*`: all of them."""
        origins = tuple(self.text(name, "").lower().split())
        if origins == ("*",):
            return origins
        for origin in origins:
            if not ORIGIN.fullmatch(origin):
                self.problems.append(
                    f"{name}: {origin!r} is no origin: write scheme, host and port as in "
                    "https://app.example.org, several with spaces between, or * alone for all"
                )
        return origins

    def networks(self, name: str) -> tuple[str, ...]:
        """Give addresses or networks, with spaces between."""
        networks = tuple(self.text(name, "").split())
        for network in networks:
            try:
                ip_network(network)
            except ValueError as error:
                self.problems.append(
                    f"{name}: {error}: write addresses or networks as 10.0.0.0/24, with spaces between"
                )
        return networks

    def secret(self, name: str) -> str | None:
        """Give a text that may stand in a file, named by the setting with _FILE; None: it is not set."""
        self._asked |= {name, f"{name}_FILE"}
        file = self._values.get(f"{name}_FILE")
        if file is None:
            return self._values.get(name)
        if name in self._values:
            self.problems.append(f"{name} and {name}_FILE are both set: keep one")
        try:
            return Path(file).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            self.problems.append(f"{name}_FILE={file!r} cannot be read: {error}")
            return None

    def url(self, name: str, value: str, schemes: tuple[str, ...]) -> str:
        """See that a URL begins with one of `schemes`; gives it."""
        if not value.startswith(schemes):  # the value may hold a password: it is not repeated here
            self.problems.append(f"{name} must start with one of {', '.join(schemes)}")
        return value

    def unknown(self) -> None:
        """Note every name that nobody has asked for."""
        for name in sorted(set(self._values) - self._asked):
            close = difflib.get_close_matches(name, self._asked, n=1)
            self.problems.append(f"{name} is no setting" + (f"; did you mean {close[0]}?" if close else ""))
