from __future__ import annotations

import random
from collections import Counter
from itertools import pairwise

import pytest

from tests.unit.models.conftest import Recorded
from workers.models import ModelJob
from workers.models.text import NGrams, Text, tokenize

RETURNS = {"prompt": "The function returns", "max_tokens": 40, "temperature": 0.8, "seed": 7}


def run(model, *inputs):
    return model.predict([ModelJob(values) for values in inputs])


def test_writes_as_many_tokens_as_asked_for(text):
    (result,) = run(text, RETURNS)

    assert result["num_tokens"] == 40
    assert len(result["text"].split()) > 20


def test_same_seed_gives_the_same_text_alone_and_in_a_batch(text):
    others = [{**RETURNS, "seed": seed, "max_tokens": 10 * seed + 1} for seed in range(5)]

    (alone,) = run(text, RETURNS)
    batch = run(text, *others[:3], RETURNS, *others[3:])

    assert batch[3] == alone


def test_another_seed_gives_another_text(text):
    one, other = run(text, RETURNS, {**RETURNS, "seed": 8})

    assert one["text"] != other["text"]


def test_seed_that_was_drawn_is_told_and_gives_the_text_again(text):
    inputs = {name: value for name, value in RETURNS.items() if name != "seed"}

    (result,) = run(text, inputs)

    assert run(text, {**inputs, "seed": result["seed"]}) == [result]


def test_temperature_zero_depends_on_no_seed(text):
    one, other = run(text, {**RETURNS, "temperature": 0.0}, {**RETURNS, "temperature": 0.0, "seed": 8})

    assert one["text"] == other["text"]


@pytest.mark.parametrize(
    "prompt", ["", "   ", "xqzzy", "日本語 🎉", "Return", "the value of the", "\ud83d", "x" * 8000]
)
def test_any_prompt_can_be_continued(text, prompt):
    (result,) = run(text, {"prompt": prompt, "max_tokens": 5, "temperature": 2.0, "seed": 1})

    assert result["text"].strip()


def test_two_models_learn_the_same(text):
    other = Text()
    other.load()

    assert run(other, RETURNS) == run(text, RETURNS)


def test_reports_the_text_so_far_up_to_100_percent(text):
    job = Recorded(**RETURNS)

    (result,) = text.predict([job])

    percents = [percent for percent, _ in job.reports]
    texts = [outputs["text"] for _, outputs in job.reports]
    assert percents == [20, 40, 60, 80, 100]
    assert all(later.startswith(sooner) for sooner, later in pairwise(texts))
    assert texts[-1] == result["text"]


def test_jobs_of_a_batch_advance_in_turn(text):
    turns = []

    def job(size):
        return ModelJob({**RETURNS, "max_tokens": size}, report=lambda percent, outputs: turns.append(size))

    text.predict([job(8), job(24), job(16)])

    assert turns == [8, 24, 16, 24, 16, 24]


def test_job_that_is_evicted_leaves_the_others_as_they_were(text):
    (alone,) = run(text, RETURNS)
    jobs = [ModelJob({**RETURNS, "seed": 1}), ModelJob(RETURNS)]
    for job in jobs:
        text.admit(job)
    assert list(text.step()) == []
    text.evict(jobs[0])
    ended = []
    while not ended:
        ended = list(text.step())
    assert ended == [(jobs[1], alone)]


def test_tokens_joined_give_the_text_back():
    text = "Don't panic: it's (only) a test... of 3.14 tokens_here!"

    assert "".join(tokenize(text)) == text


def test_tokens_follow_as_often_as_they_were_counted():
    ngrams = NGrams()
    for paragraph in ["a b", "a b", "a b", "a c"]:
        ngrams.learn(paragraph)
    rng = random.Random(1)

    chosen = Counter(ngrams.choose(["a"], 1.0, rng) for _ in range(4000))

    assert set(chosen) == {" b", " c"}
    assert 2850 < chosen[" b"] < 3150


def test_low_temperature_prefers_what_is_frequent():
    ngrams = NGrams()
    for paragraph in ["a b", "a b", "a c"]:
        ngrams.learn(paragraph)
    rng = random.Random(1)

    assert {ngrams.choose(["a"], 0.001, rng) for _ in range(1000)} == {" b"}
    assert {ngrams.choose(["a"], 0, rng) for _ in range(10)} == {" b"}
