"""The life of model hosts: replaced when they are worn out, killed when they hang."""

from __future__ import annotations

import re

import pytest

from tasks.jobs import JobState
from tests.services import wait_until

pytestmark = pytest.mark.parametrize("broker", ["rabbitmq"], indirect=True)


def endpoint_with(submitter, folder, name, line):
    """Write a copy of an endpoint file with one more line in its WORKER table."""
    folder.mkdir()
    text = submitter.endpoints[name].path.read_text()
    (folder / f"{name}.toml").write_text(text.replace("[WORKER]\n", f"[WORKER]\n{line}\n"))
    return {"STOKER_ENDPOINTS": str(folder)}


@pytest.mark.parametrize(
    ("line", "reason"), [("max_jobs_per_host = 30", "max_jobs_per_host"), ("max_memory = 1e6", "max_memory")]
)
def test_worn_out_host_is_replaced_and_no_job_notices(submitter, start_worker, tmp_path, line, reason):
    worker = start_worker("trial_cpu", endpoint_with(submitter, tmp_path / "worn", "trial", line))
    results = submitter.results([submitter.submit(text=str(n)) for n in range(100)])
    assert [r.outputs["text"] for r in results] == [str(n) for n in range(100)]
    hosts = re.findall(r"model host (\d+) is replaced: .*" + reason, worker.log())
    assert len(hosts) >= 3 and "ERROR" not in worker.log()


def test_host_that_hangs_while_it_loads_again_ends_the_worker_after_a_while(
    submitter, start_worker, tmp_path
):
    folder = tmp_path / "slow"
    folder.mkdir()
    (folder / "trial.toml").write_text(
        submitter.endpoints["trial"]
        .path.read_text()
        .replace("tests.data.models:Trial", "tests.data.models:SlowToLoad")
        .replace("[WORKER]\n", "[WORKER]\nmax_load_time = 2\n")
    )
    worker = start_worker("trial_cpu", {"STOKER_ENDPOINTS": str(folder)})
    job_id = submitter.submit(text="ends its host")
    wait_until(lambda: "max_load_time" in worker.log(), 30, "a host to be killed")
    assert submitter.store.get(job_id).state is JobState.PROCESSING  # it waits for a host that loads
