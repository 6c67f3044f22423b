"""Endpoint files: what they may say, and what is reported when they say it wrongly."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from schemas import SHIPPED, Endpoint, EndpointFileError, load_endpoints
from schemas.media.image import probe
from schemas.media.source import read_source
from tests.data.hostile import picture

SMALLEST = '[ENDPOINT]\nname = "it"\n[WORKER]\nqueue = "q"\n'


def problems_of(folder: Path, text: str, name: str = "it.toml") -> list[tuple[str, str | None, str]]:
    """Write one file and give (table, key, reason) for each of its problems."""
    (folder / name).write_text(text)
    with pytest.raises(EndpointFileError) as caught:
        load_endpoints([folder])
    assert {problem.file for problem in caught.value.problems} == {folder / name}
    return [(problem.table, problem.key, problem.reason) for problem in caught.value.problems]


def load_one(folder: Path, text: str) -> Endpoint:
    (folder / "it.toml").write_text(text)
    (endpoint,) = load_endpoints([folder]).values()
    return endpoint


def test_defaults_of_the_smallest_file(tmp_path: Path) -> None:
    it = load_one(tmp_path, SMALLEST)
    assert (it.name, it.title, it.description) == ("it", "it", "it")
    assert it.methods == ("GET", "POST")
    assert (it.category, it.version, it.demo_url, it.model) == (None, None, None, None)
    assert it.enabled
    assert (it.max_queue_length, it.max_time_in_queue, it.result_lifetime) == (1000, 3600, 900)
    assert (it.queue, it.max_batch_size, it.max_wait, it.max_runtime) == ("q", 1, 0, 600)
    assert (it.authorization_keys, it.client_request_limit, it.provide_worker_meta_data) == ({}, None, False)
    assert (it.client_share, it.client_bytes_per_day, it.client_seconds_per_day) == (64, None, None)
    assert (it.inputs, it.outputs, it.progress_outputs, it.session_vars) == ({}, {}, {}, {})
    assert it.example is None
    assert it.task_name == "infer.it"
    assert it.path == tmp_path / "it.toml"
    assert it.load_inputs({}) == {}


def test_every_key_reaches_the_endpoint(tmp_path: Path) -> None:
    it = load_one(
        tmp_path,
        """
        [ENDPOINT]
        name = "it"
        title = "It"
        description = "Does it"
        category = "text"
        version = 3
        methods = ["post"]
        demo_url = "https://example.org/"
        enabled = false
        max_queue_length = 5
        max_time_in_queue = 6.5
        result_lifetime = 7
        job_inactivity_timeout = 8
        [WORKER]
        queue = "gpu"
        model = "workers.models.it:It"
        max_batch_size = 4
        max_wait = 0.01
        max_runtime = 60
        [CLIENTS]
        authorization_keys = { alice = "key-of-alice" }
        provide_worker_meta_data = true
        client_request_limit = 3
        client_share = 10
        client_bytes_per_day = 1000000
        client_seconds_per_day = 60
        [INPUTS]
        prompt = { type = "string", required = true, title = "Prompt", description = "What to draw" }
        [OUTPUTS]
        text = { type = "string" }
        [PROGRESS.OUTPUTS]
        part = { type = "string" }
        [SESSION.VARS]
        count = { type = "integer", default = 0 }
        name = { type = "string" }
        [EXAMPLE]
        prompt = "a cat"
        """,
    )
    assert (it.title, it.description, it.category, it.version) == ("It", "Does it", "text", 3)
    assert it.methods == ("POST",)
    assert not it.enabled
    assert (it.max_queue_length, it.max_time_in_queue, it.result_lifetime) == (5, 6.5, 7)
    assert (it.queue, it.model) == ("gpu", "workers.models.it:It")
    assert (it.max_batch_size, it.max_wait, it.max_runtime) == (4, 0.01, 60)
    assert it.authorization_keys == {"alice": "key-of-alice"}
    assert it.provide_worker_meta_data
    assert it.client_request_limit == 3
    assert (it.client_share, it.client_bytes_per_day, it.client_seconds_per_day) == (10, 1_000_000, 60)
    assert it.inputs["prompt"]["description"] == "What to draw"
    assert it.outputs == {"text": {"type": "string"}}
    assert it.progress_outputs == {"part": {"type": "string"}}
    assert it.session_vars["count"] == {"type": "integer", "default": 0}
    assert it.default_session_vars() == {"count": 0}
    assert it.example == {"prompt": "a cat"}


def test_text_form_of_an_endpoint_holds_no_key(tmp_path: Path) -> None:
    it = load_one(tmp_path, SMALLEST + '[CLIENTS.authorization_keys]\nalice = "key-of-alice"\n')
    assert "key-of-alice" not in repr(it)


def test_a_changed_session_default_does_not_reach_the_next_session(tmp_path: Path) -> None:
    it = load_one(tmp_path, SMALLEST + '[SESSION.VARS]\nlog = { type = "json", default = [1] }\n')
    it.default_session_vars()["log"].append(2)
    assert it.default_session_vars() == {"log": [1]}


def test_a_file_in_the_manner_of_aime_loads_unchanged(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "below"
    folder.mkdir(parents=True)
    (folder / "aime_api_endpoint.cfg").write_text(
        """
        [ENDPOINT]
        title = "Draw"
        name = "draw"
        description = "Draws"
        category = "image"
        http_methods = ["GET", "POST"]
        version = 2
        max_queue_length = 10
        demo_url = "/draw"
        provide_worker_meta_data = true
        [WORKER]
        job_type = "draw_gpu"
        auth_key = "secret"
        request_timeout = 60
        [CLIENTS]
        authorization_keys = { "someone" = "6a17e2a5b70603cb1a3294b4a1df67da" }
        client_request_limit = 0
        [INPUTS]
        prompt = { type = "string", default = "", required = true }
        seed = { type = "integer", default = -1, min = -1, max = 10 }
        strength = { type = "float", minimum = 0.0, maximum = 1.0, default = 0.8, auto_convert = true }
        provide_progress_images = { type = "bool", default = false }
        text_context = { type = "text_context" }
        [INPUTS.chat_context]
        type = "chat_context"
        support = ["text", "image"]
        param.image.format = { supported = ["jpeg", "png"], default = "jpeg", auto_convert = true }
        [INPUTS.image]
        type = "image"
        resize_method = "crop"
        input_temp_file = "auto"
        output_temp_file = "no"
        check_conversion = true
        format = { supported = ["JPEG", "PNG"], default = "JPEG", auto_convert = true }
        color_space = { supported = ["yuv", "RGB"], default = "RGB", auto_convert = true }
        [INPUTS.image.size]
        minimum = [64, 64]
        maximum = [128, 128]
        align = [32, 32]
        keep_aspect_ratio = true
        auto_convert = true
        [INPUTS.audio]
        type = "audio"
        format = { supported = ["mp3"], default = "mp3", auto_convert = true }
        sample_rate = { minimum = 8000, maximum = 48000, default = 16000, auto_convert = true }
        channels = { supported = [1], default = 1, auto_convert = true }
        sample_bit_depth = { supported = [8, 16, 32, 64], default = 16 }
        audio_bit_rate = { maximum = 320000 }
        duration = { maximum = 60, auto_convert = true }
        audio_codec = { supported = ["mp3"] }
        [INPUTS.video]
        type = "video"
        video_bit_rate = { maximum = 8000000 }
        video_codec = { supported = ["h264"], auto_convert = true }
        color_space = { supported = ["yuv"], auto_convert = true }
        [OUTPUTS]
        images = { type = "image_list", format = "JPEG", color_space = "RGB" }
        error = { type = "string" }
        [PROGRESS]
        [PROGRESS.OUTPUTS]
        progress_images = { type = "image_list", format = "JPEG", color_space = "RGB" }
        [SESSION.VARS]
        counter = { type = "integer", default = 0 }
        [STATIC]
        "/draw" = { file = "static/draw.html", compile = "md" }
        [JINJA]
        "/draw2" = { file = "x" }
        """
    )
    (draw,) = load_endpoints([tmp_path]).values()
    assert (draw.name, draw.queue, draw.model, draw.version) == ("draw", "draw_gpu", None, 2)
    assert draw.client_request_limit is None
    assert draw.provide_worker_meta_data
    assert draw.load_inputs({"prompt": "a", "strength": 7})["strength"] == 1.0
    image = "data:image/JPEG;base64," + base64.b64encode(picture("BMP", (300, 200))).decode()
    found = read_source(draw.load_inputs({"prompt": "a", "image": image})["image"], 10**6)
    assert (probe(found).format, probe(found).size) == ("jpeg", (128, 64))


def test_toml_files_are_found_directly_in_the_folder_only(tmp_path: Path) -> None:
    (tmp_path / "it.toml").write_text(SMALLEST)
    (tmp_path / ".hidden.toml").write_text("nonsense")
    (tmp_path / "notes.txt").write_text("nonsense")
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "other.toml").write_text("nonsense")
    assert list(load_endpoints([tmp_path])) == ["it"]


def test_endpoints_of_several_folders_come_in_their_order(tmp_path: Path) -> None:
    for folder, name in (("2", "b"), ("1", "z"), ("1", "a")):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / f"{name}.toml").write_text(SMALLEST.replace('"it"', f'"{name}"'))
    assert list(load_endpoints([tmp_path / "2", tmp_path / "1"])) == ["b", "a", "z"]


def test_a_folder_given_twice_counts_once(tmp_path: Path) -> None:
    (tmp_path / "it.toml").write_text(SMALLEST)
    assert list(load_endpoints([tmp_path, tmp_path / "." / ""])) == ["it"]


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EndpointFileError) as caught:
        load_endpoints([tmp_path / "nowhere", tmp_path / "file"])
    assert len(caught.value.problems) == 2
    assert str(tmp_path / "nowhere") in str(caught.value)


def test_two_files_with_one_name_are_an_error_that_names_both(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(SMALLEST)
    (tmp_path / "b.toml").write_text(SMALLEST)
    with pytest.raises(EndpointFileError) as caught:
        load_endpoints([tmp_path])
    assert "a.toml" in str(caught.value)
    assert "b.toml" in str(caught.value)


def test_all_problems_of_all_files_are_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[ENDPOINT]\nname = "api"\nversion = "1"\n[WORKER]\nmax_batch = 3\n')
    (tmp_path / "b.toml").write_text("[ENDPOINT\n")
    (tmp_path / "c.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(EndpointFileError) as caught:
        load_endpoints([tmp_path])
    found = {(problem.file.name, problem.table, problem.key) for problem in caught.value.problems}
    assert found == {
        ("a.toml", "ENDPOINT", "name"),
        ("a.toml", "ENDPOINT", "version"),
        ("a.toml", "WORKER", "queue"),
        ("a.toml", "WORKER", "max_batch"),
        ("b.toml", "", None),
        ("c.toml", "", None),
    }
    assert f"{tmp_path / 'a.toml'}: [WORKER] max_batch: unknown key" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 6


@pytest.mark.parametrize(
    ("text", "table", "key", "hint"),
    [
        (SMALLEST + "max_batchsize = 3\n", "WORKER", "max_batchsize", "max_batch_size"),
        (SMALLEST + "[inputs]\n", "", "inputs", "INPUTS"),
        (SMALLEST + "[OUTPUT]\n", "", "OUTPUT", "OUTPUTS"),
        (SMALLEST + "[INPUTS]\nx = { requird = true }\n", "INPUTS.x", "requird", "required"),
        (SMALLEST + '[OUTPUTS]\nx = { typ = "string" }\n', "OUTPUTS.x", "typ", "type"),
        (SMALLEST + '[INPUTS]\nx = { type = "interger" }\n', "INPUTS.x", "type", "integer"),
        (SMALLEST + '[OUTPUTS]\nx = { type = "images" }\n', "OUTPUTS.x", "type", "image"),
        (SMALLEST + "[SESSION]\nVAR = {}\n", "SESSION", "VAR", "VARS"),
        (SMALLEST + "[PROGRESS]\nOUTPUT = {}\n", "PROGRESS", "OUTPUT", "OUTPUTS"),
        (
            SMALLEST + "[CLIENTS]\nautorization_keys = {}\n",
            "CLIENTS",
            "autorization_keys",
            "authorization_keys",
        ),
    ],
)
def test_an_unknown_word_gets_a_suggestion(
    tmp_path: Path, text: str, table: str, key: str, hint: str
) -> None:
    ((found_table, found_key, reason),) = problems_of(tmp_path, text)
    assert (found_table, found_key) == (table, key)
    assert f'did you mean "{hint}"?' in reason


@pytest.mark.parametrize(
    "name", ["api", "v1", "healthz", "metrics", "jobs", "worker_login", "openapi.json", "a b"]
)
def test_a_name_that_is_reserved_or_no_word_for_a_url_is_an_error(tmp_path: Path, name: str) -> None:
    text = SMALLEST.replace('"it"', f'"{name}"')
    assert [problem[:2] for problem in problems_of(tmp_path, text)] == [("ENDPOINT", "name")]


@pytest.mark.parametrize(
    ("key", "line"),
    [
        ("methods", 'methods = ["PUT"]'),
        ("methods", "methods = []"),
        ("methods", 'methods = "GET"'),
        ("methods", "methods = [3]"),
        ("version", "version = 1.5"),
        ("version", "version = true"),
        ("enabled", "enabled = 1"),
        ("title", "title = 3"),
        ("max_queue_length", "max_queue_length = 0"),
        ("max_time_in_queue", "max_time_in_queue = 0"),
        ("max_time_in_queue", "max_time_in_queue = nan"),
        ("result_lifetime", "result_lifetime = -1"),
    ],
)
def test_a_wrong_value_in_endpoint_is_an_error(tmp_path: Path, key: str, line: str) -> None:
    text = SMALLEST.replace("[WORKER]", f"{line}\n[WORKER]")
    assert [problem[:2] for problem in problems_of(tmp_path, text)] == [("ENDPOINT", key)]


@pytest.mark.parametrize(
    ("key", "lines"),
    [
        ("queue", ""),
        ("queue", 'queue = "a"\njob_type = "b"'),
        ("queue", 'queue = "a,b"'),
        ("queue", 'queue = "amq.a"'),
        ("queue", 'queue = "a.high"'),
        ("queue", "job_type = 3"),
        ("model", 'queue = "a"\nmodel = "workers.models.it"'),
        ("max_batch_size", 'queue = "a"\nmax_batch_size = 0'),
        ("max_wait", 'queue = "a"\nmax_wait = -0.1'),
        ("max_batch_cost", 'queue = "a"\nmax_batch_cost = 0'),
        ("group_by", 'queue = "a"\ngroup_by = "width"'),
        ("group_by", 'queue = "a"\ngroup_by = ["nowhere"]'),
        ("max_runtime", 'queue = "a"\nmax_runtime = 0'),
    ],
)
def test_a_wrong_worker_table_is_an_error(tmp_path: Path, key: str, lines: str) -> None:
    text = f'[ENDPOINT]\nname = "it"\n[WORKER]\n{lines}\n'
    assert [problem[:2] for problem in problems_of(tmp_path, text)] == [("WORKER", key)]


def test_queue_and_job_type_with_one_value_are_fine(tmp_path: Path) -> None:
    assert load_one(tmp_path, SMALLEST + 'job_type = "q"\n').queue == "q"


def test_an_empty_file_lacks_name_and_queue(tmp_path: Path) -> None:
    found = [problem[:2] for problem in problems_of(tmp_path, "")]
    assert found == [("ENDPOINT", "name"), ("WORKER", "queue")]


def test_a_wrong_api_key_is_reported_without_its_text(tmp_path: Path) -> None:
    text = SMALLEST + '[CLIENTS]\nauthorization_keys = { a = 12345, b = " ", "c\\u0000" = "key" }\n'
    found = problems_of(tmp_path, text)
    assert [problem[:2] for problem in found] == [
        ("CLIENTS.authorization_keys", "a"),
        ("CLIENTS.authorization_keys", "b"),
        ("CLIENTS.authorization_keys", "c\0"),
    ]
    assert "12345" not in str(found)


@pytest.mark.parametrize(
    ("key", "rules"),
    [
        ("minimum", 'type = "integer", minimum = 5, maximum = 4'),
        ("minimum", 'type = "integer", minimum = 1, maximum = 0'),
        ("minimum", 'type = "integer", minimum = 1, min = 2'),
        ("minimum", 'type = "integer", min = "1"'),
        ("minimum", 'type = "integer", min = 1.5'),
        ("maximum", 'type = "integer", max = true'),
        ("maximum", 'type = "integer", max = 99999999999999999999999'),
        ("maximum", 'type = "float", max = inf'),
        ("minimum", 'type = "float", min = nan'),
        ("align", 'type = "integer", align = 0'),
        ("align", 'type = "float", align = -0.5'),
        ("align", 'type = "integer", align = 100, minimum = 1, maximum = 99'),
        ("max_length", "max_length = -1"),
        ("max_length", 'max_length = "3"'),
        ("max_length", 'type = "integer", max_length = 3'),
        ("minimum", 'type = "string", minimum = 3'),
        ("align", 'type = "bool", align = 3'),
        ("supported", 'type = "integer", supported = [1]'),
        ("supported", 'type = "selection"'),
        ("supported", 'type = "selection", supported = []'),
        ("supported", 'type = "selection", supported = "a"'),
        ("supported", 'type = "selection", supported = [["a"]]'),
        ("supported", 'type = "selection", supported = [nan]'),
        ("required", "required = 1"),
        ("auto_convert", 'auto_convert = "yes"'),
        ("description", "description = 3"),
        ("type", "type = 3"),
        ("default", "default = 3"),
        ("default", 'max_length = 2, default = "abc"'),
        ("default", 'type = "integer", default = "3"'),
        ("default", 'type = "integer", default = true'),
        ("default", 'type = "integer", maximum = 3, default = 4'),
        ("default", 'type = "integer", maximum = 3, default = 4, auto_convert = true'),
        ("default", 'type = "integer", align = 8, default = 4'),
        ("default", 'type = "float", default = nan'),
        ("default", 'type = "selection", supported = ["a"], default = "b"'),
        ("default", 'type = "json", default = "{"'),
        ("default", 'type = "json", default = 2024-01-01'),
    ],
)
def test_a_contradiction_in_a_parameter_is_an_error(tmp_path: Path, key: str, rules: str) -> None:
    text = SMALLEST + f"[INPUTS]\nx = {{ {rules} }}\n"
    assert [problem[:2] for problem in problems_of(tmp_path, text)] == [("INPUTS.x", key)]


@pytest.mark.parametrize(
    "name", ["key", "client_session_auth_key", "wait_for_result", "job_id", '"a b"', '"{}"']
)
def test_a_parameter_with_a_reserved_or_strange_name_is_an_error(tmp_path: Path, name: str) -> None:
    found = problems_of(tmp_path, SMALLEST + f"[INPUTS]\n{name} = {{}}\n")
    assert [problem[:2] for problem in found] == [("INPUTS", name.strip('"'))]


@pytest.mark.parametrize("table", ["INPUTS", "OUTPUTS", "PROGRESS.OUTPUTS", "SESSION.VARS"])
def test_a_parameter_that_is_no_table_is_an_error(tmp_path: Path, table: str) -> None:
    found = problems_of(tmp_path, SMALLEST + f'[{table}]\nx = "string"\n')
    assert (table, "x", "must be a table, not string") in found


def test_an_output_may_not_hide_the_fields_of_an_answer(tmp_path: Path) -> None:
    found = problems_of(tmp_path, SMALLEST + "[OUTPUTS]\nsuccess = {}\n")
    assert [problem[:2] for problem in found] == [("OUTPUTS", "success")]


def test_a_session_variable_may_not_hide_an_input(tmp_path: Path) -> None:
    found = problems_of(tmp_path, SMALLEST + "[INPUTS]\nx = {}\n[SESSION.VARS]\nx = {}\n")
    assert [problem[:2] for problem in found] == [("SESSION.VARS", "x")]


def test_an_example_is_checked_by_the_inputs_rules(tmp_path: Path) -> None:
    text = SMALLEST + '[INPUTS]\nx = { type = "integer", required = true }\n[EXAMPLE]\ny = 1\n'
    assert [problem[:2] for problem in problems_of(tmp_path, text)] == [("EXAMPLE", "y"), ("EXAMPLE", "x")]


def test_an_example_may_stand_in_the_endpoint_table(tmp_path: Path) -> None:
    text = (
        SMALLEST.replace("[WORKER]", "example = { x = 1 }\n[WORKER]") + '[INPUTS]\nx = { type = "integer" }\n'
    )
    assert load_one(tmp_path, text).example == {"x": 1}


def test_two_examples_are_an_error(tmp_path: Path) -> None:
    text = SMALLEST.replace("[WORKER]", "example = {}\n[WORKER]") + "[EXAMPLE]\n"
    assert [problem[:2] for problem in problems_of(tmp_path, text)] == [("EXAMPLE", None)]


def test_every_shipped_file_loads() -> None:
    assert all(endpoint.model for endpoint in load_endpoints([SHIPPED]).values())


def test_a_share_of_the_queue_is_two_batches_at_least(tmp_path: Path) -> None:
    assert load_one(tmp_path, f"{SMALLEST}max_batch_size = 100\n").client_share == 200
