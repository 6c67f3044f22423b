"""The API does what its description says: Schemathesis makes requests of it, and judges the answers."""

from __future__ import annotations

import importlib
import os
import subprocess
from io import BytesIO

import httpx
import pytest

from tests.data.hostile import picture
from tests.services import BIN, ROOT

KEY = "a-key-for-the-tests"
CONFIG = ROOT / "tests" / "contract" / "schemathesis.toml"
EXAMPLES = int(os.environ.get("CONTRACT_EXAMPLES", "3"))  # of each operation, besides those at the limits
THOROUGH = EXAMPLES > 10
PHASES = "examples,coverage,fuzzing,stateful" if THOROUGH else "examples,coverage,fuzzing"
# The endpoints that are shipped have no worker here; the routes of files are those of values.
LEFT_OUT = r"^(embed|text|example_api)\.|^readyz|^files\.(progress|login)"
TWINS = "_by_(post|its_other_path)"  # the same by another method or path


@pytest.fixture
def server(stoker_home, start_api, start_worker):
    (stoker_home / "demo-key").write_text(KEY)
    env = {"STOKER_ENDPOINTS": str(ROOT / "tests" / "data" / "contract"), "STOKER_MAX_WAIT": "2"}
    env |= {"STOKER_UPLOADS_PER_KEY": "1000"}  # none that is allowed may be refused
    start_worker("contract_cpu", env)
    return start_api(env)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_the_api_does_what_its_description_says(server, tmp_path):
    command = [str(BIN / "st"), "--config-file", str(CONFIG)]
    command += ["run", f"{server.url}/openapi.json", "--header", f"Authorization: Bearer {KEY}"]
    command += ["--exclude-operation-id-regex", LEFT_OUT if THOROUGH else f"{LEFT_OUT}|{TWINS}"]
    command += ["--phases", PHASES, "--max-examples", str(EXAMPLES)]
    command += ["--seed", "1", "--continue-on-failure", "--generation-database", "none", "--no-color"]
    env = {**os.environ, "SCHEMATHESIS_HOOKS": "tests.contract.hooks", "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        command, cwd=tmp_path, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    print(run.stdout)  # noqa: T201 -- pytest shows it if the test fails, or with -s
    assert run.returncode == 0
    assert "Fuzzing (in" in run.stdout


@pytest.mark.parametrize("broker", ["embedded"], indirect=True)
def test_a_client_that_is_generated_from_the_description_works(server, tmp_path, monkeypatch):
    (tmp_path / "openapi.json").write_bytes(httpx.get(f"{server.url}/openapi.json").content)
    (tmp_path / "any.json").write_text('{"content_type_overrides": {"*/*": "application/octet-stream"}}')
    command = [str(BIN / "openapi-python-client"), "generate", "--path", "openapi.json", "--meta", "none"]
    command += ["--config", "any.json"]
    env = os.environ | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    run = subprocess.run([*command, "--output-path", "made", "--fail-on-warning"], cwd=tmp_path, env=env)
    assert run.returncode == 0
    monkeypatch.syspath_prepend(tmp_path)
    made = importlib.import_module("made")
    models, connect = importlib.import_module("made.models"), made.AuthenticatedClient
    files_submit, values_submit, values_progress, values_login, get_job, cancel_job, get_output, upload = (
        importlib.import_module(f"made.api.{name}").sync
        for name in (
            "files.files_submit",
            "values.values_submit",
            "values.values_progress",
            "values.values_login",
            "jobs.get_job",
            "jobs.cancel_job",
            "jobs.get_output",
            "uploads.upload",
        )
    )
    with connect(server.url, KEY) as client:
        sent = models.ValuesInputs(text="hello", ratio=0.5, style=models.ValuesInputsStyle.A_B)
        answer = values_submit(client=client, body=sent)
        assert isinstance(answer, models.ValuesResult)
        assert (answer.success, answer.text, answer.count, answer.ratio) == (True, "hello", 4, 0.5)

        job = get_job(answer.job_id, client=client)
        assert (job.job_state, job.endpoint) == (models.JobJobState.DONE, "values")
        polled = values_progress(client=client, job_id=answer.job_id)
        assert polled.job_result.text == "hello"
        ended = cancel_job(answer.job_id, client=client)
        assert (ended.code, ended.job_state) == (models.Error409Code.JOB_ENDED, "done")

        form = models.FilesSubmitFilesBody(
            image=made.types.File(BytesIO(picture("PNG", (30, 20))), "a.png", "image/png")
        )
        pictured = files_submit(client=client, body=form)
        assert pictured.image.startswith("data:image/png;base64,")
        sent = upload(client=client, body=made.types.File(BytesIO(picture("PNG", (30, 20)))))
        again = files_submit(client=client, body=models.FilesInputs(image=f"upload:{sent.id}"))
        assert again.image == pictured.image
        image = get_output(again.job_id, "image", client=client).payload.read()
        assert image.startswith(b"\x89PNG")

        refused = values_submit(client=client, body=models.ValuesInputs(text="x" * 11, count=3))
        assert isinstance(refused, models.Error400)
        assert refused.code is models.Error400Code.INVALID_INPUT
        assert refused.errors.to_dict().keys() == {"text", "count"}
        token = values_login(client=client).client_session_auth_key
    with connect(server.url, token) as client:
        assert get_job(answer.job_id, client=client).job_id == answer.job_id
    with connect(server.url, "wrong") as client:
        assert get_job(answer.job_id, client=client).code is models.Error401Code.KEY_NOT_VALID
