"""A text generator that needs no GPU and no weights: a 4-gram model of Python's own documentation.

It learns, each time it is loaded, from the reference texts and docstrings that every Python carries, so it is
the same on all machines with the same Python. A toy: it strings together what it has read. But it generates
token by token, streams, and lets jobs join and leave between two steps, as large models do.
"""

from __future__ import annotations

import ast
import random
import re
import sysconfig
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

from workers.models.base import ContinuousModel, ModelJob

ORDER = 4  # a token is chosen by the three before it
TURN = 8  # tokens that each job gets in one step
TOKEN = re.compile(r"\s?\w+|\s?[^\w\s]")  # a word or a sign, with the space before it
PARAGRAPH = "\n\n"  # the token between two paragraphs
MIN_LETTERS = 0.75  # share of letters and spaces in a paragraph of prose; what has fewer is code or a table
NO_PROSE = {"test", "tests", "idlelib", "lib2to3", "site-packages", "dist-packages", "turtledemo"}

Context = tuple[str, ...]


class Text(ContinuousModel):
    """Inputs: `prompt`, `max_tokens`, `temperature`, `seed`. Outputs: `text`, `num_tokens`, `seed`."""

    model_label = "4-gram"
    model_family = "n-gram"
    model_type = "text generation"
    framework = "Python"

    def __init__(self) -> None:
        self.ngrams = NGrams()
        self._writers: list[_Writer] = []

    def load(self) -> None:
        """Read the documentation: about 3 s."""
        for paragraph in read_documentation():
            self.ngrams.learn(paragraph)

    def admit(self, job: ModelJob) -> None:
        """Begin to continue a prompt."""
        self._writers.append(_Writer(self.ngrams, job))

    def step(self) -> Iterable[tuple[ModelJob, Mapping[str, Any]]]:
        """Write some tokens of each text; gives the texts that are complete."""
        for writer in self._writers.copy():
            if not writer.write(TURN):
                self.evict(writer.job)
                yield writer.job, writer.outputs

    def evict(self, job: ModelJob) -> None:
        """Leave a text as it is."""
        self._writers = [writer for writer in self._writers if writer.job is not job]


class NGrams:
    """How often which token followed which context of zero to three tokens."""

    def __init__(self) -> None:
        self._following: dict[Context, dict[str, int]] = defaultdict(lambda: defaultdict(int))

    def learn(self, paragraph: str) -> None:
        """Count the tokens of a paragraph."""
        tokens = [PARAGRAPH, *tokenize(paragraph), PARAGRAPH]
        for end in range(1, len(tokens)):
            for start in range(max(0, end - ORDER + 1), end + 1):
                self._following[tuple(tokens[start:end])][tokens[end]] += 1

    def choose(self, tokens: Sequence[str], temperature: float, rng: random.Random) -> str:
        """Choose the token that comes next.

        The longest context that was ever seen decides, as in "stupid backoff" (Brants et al. 2007).

        Args:
            tokens: what was said so far.
            temperature: 0 takes the most frequent token, 1 chooses as often as was counted, more is wilder.
            rng: source of chance; asked once for each token.
        """
        counts = next(
            self._following[context]
            for start in range(-ORDER + 1, 1)
            if (context := tuple(tokens[start:] if start else ())) in self._following
        )
        chance = rng.random()
        if temperature == 0:
            return max(counts, key=counts.__getitem__)
        largest = max(counts.values())  # weights of 1 at most: no power of a small temperature overflows
        weights = list(accumulate((count / largest) ** (1 / temperature) for count in counts.values()))
        return list(counts)[bisect_right(weights, chance * weights[-1], hi=len(weights) - 1)]


class _Writer:
    """One job on its way."""

    def __init__(self, ngrams: NGrams, job: ModelJob) -> None:
        self._ngrams = ngrams
        self.job = job
        self._max_tokens = job.get("max_tokens", 100)
        self._temperature = job.get("temperature", 0.8)
        self._seed = job.get("seed", random.getrandbits(32))
        self._rng = random.Random(self._seed)
        self._tokens: list[str] = [PARAGRAPH, *tokenize(job["prompt"])][-ORDER + 1 :]
        self._text = ""
        self._num_tokens = 0

    @property
    def outputs(self) -> dict[str, Any]:
        return {"text": self._text, "num_tokens": self._num_tokens, "seed": self._seed}

    def write(self, num_tokens: int) -> bool:
        """Write some tokens; gives whether there is more to write."""
        for _ in range(min(num_tokens, self._max_tokens - self._num_tokens)):
            token = self._ngrams.choose(self._tokens, self._temperature, self._rng)
            self._tokens = [*self._tokens[-ORDER + 2 :], token]
            self._text += token
            self._num_tokens += 1
        percent = 100 * self._num_tokens / self._max_tokens
        self.job.report(percent, text=self._text, num_tokens=self._num_tokens)
        return self._num_tokens < self._max_tokens


def tokenize(text: str) -> list[str]:
    """Divide a text into words and signs, each with the one space before it: joined, they give it back."""
    return TOKEN.findall(" ".join(text.split()))


def read_documentation() -> Iterator[str]:
    """Give the paragraphs of prose in Python's documentation, always in the same order."""
    yield from _prose(_topics())
    library = Path(sysconfig.get_path("stdlib"))
    for path in sorted(library.glob("*.py")) + sorted(library.glob("*/*.py")):
        if path.parent.name not in NO_PROSE:
            yield from _prose(_docstrings(path))


def _topics() -> Iterator[str]:
    try:
        from pydoc_data.topics import topics
    except ImportError:  # left out by some minimal installations
        return
    for _, text in sorted(topics.items()):
        yield text


def _docstrings(path: Path) -> Iterator[str]:
    try:
        tree = ast.parse(path.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return
    # functions inside functions have no docstrings worth the time of a full walk
    for node in [tree, *tree.body, *(n for c in tree.body if isinstance(c, ast.ClassDef) for n in c.body)]:
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""


def _prose(texts: Iterator[str]) -> Iterator[str]:
    for text in texts:
        for paragraph in re.split(r"\n\s*\n", text):
            if _is_prose(paragraph.strip()):
                yield paragraph


def _is_prose(text: str) -> bool:
    if not text[:1].isupper() or text[-1] not in ".:!?":
        return False
    return sum(map(str.isalpha, text)) + text.count(" ") > MIN_LETTERS * len(text)
