from __future__ import annotations

import io

import pytest
from PIL import Image

from schemas.media.source import data_url
from workers.models import ModelJob
from workers.models.imagejob import ImageJob, size_of

SIDE = 512


def picture(size):
    file = io.BytesIO()
    Image.new("L", size, 128).save(file, "PNG")
    return data_url(file.getvalue(), "image/png")


def read(**inputs):
    return ImageJob.read(ModelJob({"prompt": "a cat"} | inputs), SIDE)


@pytest.mark.parametrize(
    ("inputs", "size"),
    [
        ({}, (SIDE, SIDE)),
        ({"width": 256}, (256, SIDE)),
        ({"width": 256, "height": 128}, (256, 128)),
        ({"image": picture((64, 96))}, (64, 96)),
        ({"image": picture((64, 96)), "height": 128}, (64, 128)),
        ({"image": picture((64, 96)), "width": 256, "height": 128}, (256, 128)),
    ],
)
def test_size_is_as_told_else_that_of_the_image_else_that_of_the_model(inputs, size):
    assert size_of(ModelJob(inputs), SIDE) == size
    assert read(**inputs).size == size


def test_each_image_has_the_next_seed():
    assert read(seed=5, num_samples=3).seeds == (5, 6, 7)


@pytest.mark.parametrize("inputs", [{}, {"seed": -1}])
def test_seed_that_nobody_told_is_drawn_anew_each_time(inputs):
    drawn = {read(**inputs).seeds for _ in range(3)}

    assert len(drawn) == 3
    assert all(0 <= seed < 2**32 for (seed,) in drawn)


def test_image_is_read_as_rgb():
    image = read(image=picture((8, 8))).image

    assert (image.mode, image.size) == ("RGB", (8, 8))


def test_metadata_tells_how_to_make_the_image_again_and_nothing_that_was_not_said():
    plain = read(seed=5, num_samples=2, steps=9, guidance=2.5)
    full = read(negative_prompt="a dog", image=picture((8, 8)), strength=0.5, seed=0)

    told = {"prompt": "a cat", "seed": 6, "steps": 9, "guidance": 2.5}
    assert plain.metadata(1) == told
    assert full.metadata(0).items() >= {"negative_prompt": "a dog", "strength": 0.5, "seed": 0}.items()


def test_empty_negative_prompt_is_none():
    assert read(negative_prompt="").negative_prompt is None
