"""The endpoint `sd` on tiny pipelines with random weights, against diffusers' own calls."""

from __future__ import annotations

import io
import shutil
from types import SimpleNamespace

import numpy
import pytest
from PIL import Image

from schemas.media.source import data_url
from tests.unit.models.conftest import Recorded
from workers.models import ModelJob, media_bytes
from workers.models import diffusion as diffusion_module
from workers.models.diffusion import Diffusion
from workers.models.imagejob import ImageJob

# diffusers' own, of schedulers that hand tensors to numpy
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

ROUNDING = 1  # of 255: the network's numbers depend a little on how many images pass it together
COMPANY = [
    {"prompt": "a dog", "seed": 1, "steps": 3},
    {"prompt": "a house", "seed": 2, "steps": 7, "guidance": 1.0, "num_samples": 2},
    {"prompt": "a tree", "seed": 3, "steps": 4, "width": 96, "height": 32},
]


@pytest.fixture(scope="module", params=["sd", "sdxl"])
def model(request, tiny_pipelines):
    return loaded(tiny_pipelines[request.param])


@pytest.fixture(scope="module")
def sd(tiny_pipelines):
    return loaded(tiny_pipelines["sd"])


def loaded(weights):
    model = Diffusion()
    model.weights = str(weights)
    model.load()
    return model


@pytest.fixture(scope="module")
def photo():
    """An image as a data URL."""
    noise = numpy.random.default_rng(0).integers(0, 256, (64, 64, 3), "uint8")
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    return data_url(file.getvalue(), "image/png")


def paint(model, **inputs):
    (outputs,) = model.predict([ModelJob({"prompt": "a cat", "seed": 5, "steps": 5} | inputs)])
    return outputs["images"]


def run(model, arrivals):
    """Run jobs that come before the steps of these numbers; gives the outputs of each."""
    jobs = [(at, ModelJob({"prompt": "a cat", "seed": 5, "steps": 5} | inputs)) for at, inputs in arrivals]
    outputs = {}
    for step in range(100):
        for at, job in jobs:
            if at == step:
                model.admit(job)
        outputs |= {id(job): found for job, found in model.step()}
        if len(outputs) == len(jobs):
            break
    return [outputs[id(job)] for _, job in jobs]


def difference(images, others):
    assert [image.size for image in images] == [other.size for other in others]
    return max(
        numpy.abs(numpy.asarray(image, "int16") - numpy.asarray(other, "int16")).max()
        for image, other in zip(images, others, strict=True)
    )


def library(model, image=None, dtype="float32", **inputs):
    """What diffusers' own pipeline gives."""
    import torch
    from diffusers import AutoPipelineForImage2Image, AutoPipelineForText2Image

    pipe = AutoPipelineForText2Image.from_pretrained(model.weights, dtype=getattr(torch, dtype))
    pipe = pipe if image is None else AutoPipelineForImage2Image.from_pipe(pipe)
    pipe.set_progress_bar_config(disable=True)
    given = {} if image is None else {"image": image}
    seeds = inputs.pop("seeds")
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    return pipe("a cat", **given, **inputs, num_images_per_prompt=len(seeds), generator=generators).images


@pytest.mark.parametrize(
    "inputs",
    [
        {"guidance": 7.0, "steps": 6, "negative_prompt": "a dog"},
        {"guidance": 3.0, "steps": 1, "width": 96, "height": 32},
        {"guidance": 1.0, "steps": 5},
    ],
)
def test_images_equal_those_of_the_library(model, inputs):
    ours = paint(model, seed=5, num_samples=2, **inputs)

    names = {"steps": "num_inference_steps", "guidance": "guidance_scale"}
    theirs = library(model, seeds=(5, 6), **{names.get(name, name): v for name, v in inputs.items()})
    assert difference(ours, theirs) <= ROUNDING
    assert difference(ours[:1], ours[1:]) > 50


def test_images_from_an_image_equal_those_of_the_library(model, photo):
    ours = paint(model, num_samples=2, image=photo, strength=0.6, steps=8, guidance=4.0)

    image = Image.open(io.BytesIO(media_bytes(photo)))
    theirs = library(model, image, seeds=(5, 6), strength=0.6, num_inference_steps=8, guidance_scale=4.0)
    assert difference(ours, theirs) <= ROUNDING


@pytest.mark.filterwarnings("ignore:.*upcast_vae:FutureWarning")  # of the library's own call
@pytest.mark.parametrize("from_image", [False, True])
def test_half_precision_is_used_as_the_library_uses_it(model, photo, from_image):
    import torch
    from diffusers import AutoPipelineForText2Image

    from workers.models.denoising import Painter

    half = Diffusion()
    half._painter = Painter(AutoPipelineForText2Image.from_pretrained(model.weights, dtype=torch.float16))
    more = {"image": photo, "strength": 0.5} if from_image else {}

    (ours,) = paint(half, steps=6, **more)

    given = {"image": Image.open(io.BytesIO(media_bytes(photo))), "strength": 0.5} if from_image else {}
    (theirs,) = library(
        model, **given, dtype="float16", seeds=(5,), num_inference_steps=6, guidance_scale=7.0
    )
    assert half._painter.precision == "fp16"
    if half._painter.family == "Stable Diffusion XL":
        assert half._painter._pipe.vae.dtype == torch.float32  # the real one overflows in half precision
    assert difference([ours], [theirs]) <= 8


def test_a_weak_strength_stays_near_the_image(sd, photo):
    strong, weak = (paint(sd, image=photo, strength=strength, steps=10) for strength in (1.0, 0.01))
    decoded = paint(sd, image=photo, strength=0.01, steps=1)  # the one step it has is the last of one

    assert difference(weak, strong) > 50
    assert decoded[0].size == (64, 64)


def test_the_same_seed_gives_the_same_pixels_alone_and_in_company(model, photo):
    alone = paint(model, num_samples=2)
    from_photo = paint(model, image=photo)

    first, *_, second = run(
        model,
        [
            (2, {"num_samples": 2}),
            *((at, inputs) for at, inputs in enumerate(COMPANY)),
            (4, {"image": photo}),
        ],
    )

    assert difference(first["images"], alone) <= ROUNDING
    assert difference(second["images"], from_photo) <= ROUNDING


def test_images_of_one_job_are_those_of_the_next_seeds(model):
    together = paint(model, seed=5, num_samples=3)

    assert difference(together, [paint(model, seed=seed)[0] for seed in (5, 6, 7)]) <= ROUNDING


def test_a_seed_that_was_drawn_is_told_and_gives_the_image_again(sd):
    (outputs,) = sd.predict([ModelJob({"prompt": "a cat", "steps": 3})])

    assert difference(paint(sd, seed=outputs["seed"], steps=3), outputs["images"]) == 0


@pytest.mark.parametrize("leaves_at", [1, 2, 4])
def test_a_job_that_leaves_at_a_step_changes_nothing_for_the_others(model, leaves_at):
    alone = paint(model)
    stays, leaves, later = (ModelJob({"prompt": "a cat", "seed": seed, "steps": 5}) for seed in (5, 6, 5))
    for job in leaves, stays:
        model.admit(job)
    outputs = {}
    for step in range(1, 12):
        outputs |= {id(job): found for job, found in model.step()}
        if step == leaves_at:
            model.evict(leaves)
            model.admit(later)  # in its place
        if len(outputs) == 2:
            break

    assert outputs.keys() == {id(stays), id(later)}
    assert difference(outputs[id(stays)]["images"], alone) <= ROUNDING
    assert difference(outputs[id(later)]["images"], alone) <= ROUNDING


def test_nothing_is_kept_of_a_job_that_left_or_ended(sd):
    job = ModelJob({"prompt": "a cat"})
    sd.admit(job)
    sd.evict(job)
    paint(sd)

    assert list(sd.step()) == []


def test_progress_is_told_at_each_step_and_shows_images_every_so_many(model):
    job = Recorded(prompt="a cat", seed=5, steps=5, num_samples=2, guidance=1.0, progress_images_every=2)

    model.predict([job])

    percents = [percent for percent, _ in job.reports]
    assert percents == sorted(set(percents)) and percents[-1] == 100 and len(percents) >= 5
    shown = [outputs.get("progress_images") for _, outputs in job.reports]
    assert shown[0] is None
    assert shown[1] is shown[2] and shown[3] is not shown[2]  # the last ones stay until there are newer ones
    assert [image.size for image in shown[1]] == [(8, 8), (8, 8)]
    assert difference(shown[1], shown[3]) > 0


def test_previews_show_what_the_scheduler_takes_for_the_image_not_the_noise(model):
    import torch

    painter = model._painter
    canvas = painter.begin(ImageJob.read(ModelJob({"prompt": "a cat"}), painter.side))
    painter.step([canvas])
    is_xl = painter.family == "Stable Diffusion XL"
    assert (canvas.cleared is not None) == is_xl  # its scheduler can tell

    canvas.cleared = torch.zeros_like(canvas.latents)

    (image,) = painter.preview(canvas)
    assert image.getcolors() == [(64, (150, 140, 130) if is_xl else (127, 127, 127))]


def test_no_previews_without_a_wish(sd):
    job = Recorded(prompt="a cat", seed=5, steps=3)

    sd.predict([job])

    assert [outputs for _, outputs in job.reports] == [{}] * len(job.reports)


def test_previews_do_not_change_the_image(sd):
    assert difference(paint(sd, progress_images_every=1), paint(sd)) == 0


def test_each_image_carries_its_prompt_and_seed(sd):
    images = paint(sd, num_samples=2)

    assert [image.info["seed"] for image in images] == [5, 6]
    assert {image.info["prompt"] for image in images} == {"a cat"}


def test_cost_is_the_pixels_of_all_images(sd, photo):
    def cost(**inputs):
        return sd.cost(ModelJob(inputs))

    assert cost() == 64 * 64
    assert cost(width=96, height=32, num_samples=3) == 96 * 32 * 3
    assert cost(image=photo, height=128) == 64 * 128


def test_images_that_the_weights_own_checker_refuses_are_black(tiny_pipelines):
    import torch

    model = loaded(tiny_pipelines["sd"])
    pipe = model._painter._pipe
    seen = []

    def checker(images, clip_input):
        seen.append(clip_input)
        return torch.zeros_like(images), [True]

    pipe.safety_checker = checker
    pipe.feature_extractor = lambda images, return_tensors: SimpleNamespace(
        to=lambda device: SimpleNamespace(pixel_values=torch.zeros(1))
    )

    (image,) = paint(model)

    assert len(seen) == 1
    assert numpy.asarray(image).max() == 0


def test_prompts_are_never_logged_not_even_if_they_are_too_long(sd, caplog, capfd):
    caplog.set_level(0)

    paint(sd, prompt="xylophone " * 40, negative_prompt="xylophone " * 40, steps=1)

    written = capfd.readouterr()
    assert "xylo" not in caplog.text + written.out + written.err
    assert "n e" not in caplog.text  # the tokens of what was cut off, as the library would tell them


def test_model_describes_itself_without_paths(model):
    told = model.description

    assert told["model"]["label"] in ("tiny-sd", "tiny-sdxl")
    assert told["model"]["repo_name"] is None
    assert told["model"]["quantization"] in ("fp32", "fp16")
    assert told["framework_version"]


def test_a_missing_extra_is_answered_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(diffusion_module, "LIBRARIES", ("click", "no_such_library"))
    monkeypatch.setenv("STOKER_SD_MODEL", "some/model")

    with pytest.raises(ModuleNotFoundError, match=r"^no_such_library .* `pip install 'stoker\[image\]'`$"):
        Diffusion().load()


def test_without_weights_the_setting_is_named(monkeypatch):
    monkeypatch.delenv("STOKER_SD_MODEL", raising=False)

    with pytest.raises(ValueError, match="STOKER_SD_MODEL"):
        Diffusion().load()


@pytest.mark.parametrize("weights", ["/no/such/folder", "./no/such/folder", "../folder", "~/no-such-folder"])
def test_a_folder_that_is_not_there_is_not_looked_for_on_the_hub(tiny_pipelines, weights):
    with pytest.raises(FileNotFoundError, match=f"there is no folder {weights}"):
        loaded(weights)


def test_weights_that_could_run_code_are_refused(tiny_pipelines, tmp_path):
    folder = tmp_path / "pickled"
    shutil.copytree(tiny_pipelines["sd"], folder)
    for file in folder.rglob("*.safetensors"):
        file.rename(file.with_suffix(".bin"))

    with pytest.raises(OSError, match="safetensors"):
        loaded(folder)


def test_pipelines_that_need_more_than_is_done_here_are_refused(tiny_pipelines, tmp_path):
    from tests.data.pipelines import stable_diffusion

    stable_diffusion(in_channels=9).save_pretrained(tmp_path / "inpainting")

    with pytest.raises(ValueError, match="StableDiffusionPipeline of a kind that is not supported"):
        loaded(tmp_path / "inpainting")
