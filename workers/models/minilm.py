"""The network of all-MiniLM-L6-v2, a BERT of six layers, on numpy alone.

BERT: Devlin et al. 2018, arXiv:1810.04805; MiniLM: Wang et al. 2020, arXiv:2002.10957. The texts of a batch
are laid end to end in one array of word pieces. Nothing is padded: all that works on single word pieces is
one large matrix product, and only attention looks at each text by itself. So no masks are needed, a long
text costs a short one nothing, and a text gives the same embedding alone or in any company.

Imports numpy: import this module only when a model is loaded.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

LAYERS = 6
HEADS = 12
WIDTH = 384  # of the embedding, and of every word piece between two layers
HEAD_WIDTH = WIDTH // HEADS
EPSILON = 1e-12  # of layer normalisation, from the model's config.json

BLOCK_TOKENS = 512  # word pieces computed at once; more gains nothing, and costs memory
GELU_ROWS = 32  # rows of 1536 floats computed at once: 200 kB, for the same reason

# erf(x) = tanh(x P(x^2)): the minimax fit of P to atanh(erf(x)) / x on [0, 4], lowest power first, made by
# Lawson's algorithm (weighted least squares, reweighted 60 times). Off by 5.8e-8 at most, 1.4e-7 in float32.
# Beyond 4, x P(x^2) stays above 9, where tanh is 1 in float32: nothing has to be clipped.
ERF_COEFFICIENTS = (
    1.12837971,
    1.02765482e-01,
    -1.84384111e-04,
    -6.25719031e-04,
    8.97122873e-05,
    -5.98561970e-06,
    1.58954381e-07,
)


class _Layer(NamedTuple):
    """Weights as [in, out], which is the faster order, with constant factors multiplied in."""

    qkv: Floats
    qkv_bias: Floats
    out: Floats
    out_bias: Floats
    norm1: tuple[Floats, Floats]
    up: Floats
    up_bias: Floats
    down: Floats
    down_bias: Floats
    norm2: tuple[Floats, Floats]


class MiniLM:
    """Computes sentence embeddings from word pieces.

    Args:
        weights: float32 arrays by the names in the model's safetensors file.
    """

    def __init__(self, weights: Mapping[str, Floats]) -> None:
        self._words = weights["embeddings.word_embeddings.weight"]
        # every word piece is of type 0: a text has no second sentence
        kind = weights["embeddings.token_type_embeddings.weight"][0]
        self._positions: Floats = weights["embeddings.position_embeddings.weight"] + kind
        self._norm = _norm(weights, "embeddings.")
        self._layers = [_layer(weights, f"encoder.layer.{index}.") for index in range(LAYERS)]

    def embed(self, texts: Sequence[Sequence[int]]) -> Floats:
        """Embed texts.

        Args:
            texts: ids of the word pieces of each text, 1 to 512 of them, with the marks that frame it.

        Returns:
            [len(texts), 384], each row of unit length.
        """
        embeddings = np.empty((len(texts), WIDTH), np.float32)
        for block in blocks([len(text) for text in texts]):
            embeddings[block] = self._embed([texts[index] for index in block])
        return embeddings

    def _embed(self, texts: Sequence[Sequence[int]]) -> Floats:
        """Embed texts that are ordered by length."""
        lengths = np.array([len(text) for text in texts])
        groups = [(length, len(list(same))) for length, same in groupby(lengths.tolist())]
        x = self._words[np.concatenate(texts)]
        x += self._positions[np.concatenate([np.arange(length) for length in lengths])]
        _normalize(x, *self._norm)
        for layer in self._layers:
            x += _attention(x @ layer.qkv + layer.qkv_bias, groups) @ layer.out + layer.out_bias
            _normalize(x, *layer.norm1)
            hidden = x @ layer.up
            hidden += layer.up_bias
            for start in range(0, len(hidden), GELU_ROWS):
                _gelu(hidden[start : start + GELU_ROWS])
            x += hidden @ layer.down + layer.down_bias
            _normalize(x, *layer.norm2)
        # unit length makes the sum over word pieces as good as their mean
        pooled: Floats = np.add.reduceat(x, np.cumsum(lengths) - lengths, axis=0)
        pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
        return pooled


def blocks(lengths: Sequence[int], limit: int = BLOCK_TOKENS) -> Iterator[list[int]]:
    """Divide texts among blocks of at most `limit` word pieces; a longer text is a block by itself.

    Args:
        lengths: word pieces of each text.
        limit: word pieces.

    Yields:
        Indices of texts, the shortest first, so that texts of equal length stand side by side.
    """
    block: list[int] = []
    total = 0
    for index in sorted(range(len(lengths)), key=lengths.__getitem__):
        if block and total + lengths[index] > limit:
            yield block
            block, total = [], 0
        block.append(index)
        total += lengths[index]
    if block:
        yield block


def erf(x: Floats) -> Floats:
    """The error function for |x| up to 1000, to 1.4e-7; a new array."""
    square = x * x
    result: Floats = square * np.float32(ERF_COEFFICIENTS[-1])
    for coefficient in ERF_COEFFICIENTS[-2:0:-1]:
        result += np.float32(coefficient)
        result *= square
    result += np.float32(ERF_COEFFICIENTS[0])
    result *= x
    return np.tanh(result, out=result)


def _gelu(x: Floats) -> None:
    """Replace x by x (1 + erf(x)): GELU of sqrt(2) x, times sqrt(2). `_layer` puts both roots in weights."""
    factor = erf(x)
    factor += np.float32(1)
    x *= factor


def _attention(qkv: Floats, groups: Sequence[tuple[int, int]]) -> Floats:
    """Let the word pieces of each text see each other.

    Args:
        qkv: [tokens, 3 * 384], queries already scaled.
        groups: length and number of neighbouring texts of equal length.

    Returns:
        [tokens, 384]
    """
    result = np.empty((len(qkv), WIDTH), np.float32)
    start = 0
    for length, count in groups:
        end = start + length * count
        q, k, v = qkv[start:end].reshape(count, length, 3, HEADS, HEAD_WIDTH).transpose(2, 0, 3, 1, 4)
        # [count, heads, keys, queries]: numpy is several times faster along any axis but the last
        scores = k @ q.swapaxes(-1, -2)
        scores -= scores.max(axis=-2, keepdims=True)
        np.exp(scores, out=scores)
        scores /= scores.sum(axis=-2, keepdims=True)
        context = scores.swapaxes(-1, -2) @ v
        result[start:end].reshape(count, length, HEADS, HEAD_WIDTH)[...] = context.swapaxes(1, 2)
        start = end
    return result


def _normalize(x: Floats, weight: Floats, bias: Floats) -> None:
    """Layer normalisation, in place."""
    x -= x.mean(axis=1, keepdims=True)
    variance = np.einsum("ij,ij->i", x, x) / np.float32(WIDTH)
    x *= (1 / np.sqrt(variance + np.float32(EPSILON)))[:, None]
    x *= weight
    x += bias


def _layer(weights: Mapping[str, Any], prefix: str) -> _Layer:
    def dense(name: str, factor: float = 1.0) -> tuple[Floats, Floats]:
        weight, bias = weights[f"{prefix}{name}.weight"], weights[f"{prefix}{name}.bias"]
        return np.ascontiguousarray(weight.T) * np.float32(factor), bias * np.float32(factor)

    parts = [
        dense("attention.self.query", 1 / math.sqrt(HEAD_WIDTH)),
        dense("attention.self.key"),
        dense("attention.self.value"),
    ]
    up, up_bias = dense("intermediate.dense", 1 / math.sqrt(2))
    down, down_bias = dense("output.dense")
    return _Layer(
        np.concatenate([weight for weight, _ in parts], axis=1),
        np.concatenate([bias for _, bias in parts]),
        *dense("attention.output.dense"),
        _norm(weights, prefix + "attention.output."),
        up,
        up_bias,
        down * np.float32(1 / math.sqrt(2)),
        down_bias,
        _norm(weights, prefix + "output."),
    )


def _norm(weights: Mapping[str, Floats], prefix: str) -> tuple[Floats, Floats]:
    return weights[f"{prefix}LayerNorm.weight"], weights[f"{prefix}LayerNorm.bias"]
