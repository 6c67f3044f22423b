"""Dead letters in the job store: what died, kept for an operator to let it run again.

    key           type    what                                     lifetime of all
    dead:times    zset    ids of letters by time of death          a week after the last death
    dead:letters  hash    id -> Letter (JSON)
    dead:bodies   hash    id -> body of its message, large inputs in it
    dead:bytes    string  length of all bodies

The oldest are forgotten, when they are a week old or there are too many.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from schemas import Endpoint
from tasks.blobs import pack, unpack
from tasks.jobs import Job, JobState, Result
from tasks.letters import Letter, job_of
from tasks.publisher import Publisher
from tasks.records import (
    CLOCKS_DIFFER,
    UNFINISHED_LIFETIME,
    dumps,
    ending,
    flat,
    job_key,
    owner_key,
    recorded,
    unstarted,
    waiting_key,
    waiting_score,
)
from tasks.scripts import letters, running
from tasks.store import JobStore

logger = logging.getLogger(__name__)

LIFETIME = 7 * 86400  # s; so long a letter is kept
MOST = 10_000  # letters that are kept
MOST_BYTES = 256 * 2**20  # of their messages: they are in the memory of the store
KEYS = ["dead:times", "dead:letters", "dead:bodies", "dead:bytes"]


class DeadLetters:
    """The dead letters of an installation.

    Every method raises `StoreUnavailable` if the store does not answer. Times are in seconds since 1970.
    """

    def __init__(self, store: JobStore) -> None:
        self._store = store

    def bury(self, letter: Letter, body: str, now: float) -> bool:
        """Keep a letter, end its job as failed and tell who waits for it; one that has ended stays as it is.

        It may break off, and be called again with the same letter.

        Returns:
            Whether that is done; False: ask again, since a living worker still runs the job.
        """
        pairs, clock = self._run(letters.LOOK, [job_key(letter.id)], [])
        record = dict(zip(pairs[::2], pairs[1::2], strict=True))
        job = job_of(body) or (recorded(letter.id, record) if "deadline" in record else None)
        if job is None:
            self._warn(letter, self._run(*self._keeping(letter, body)))
            return True
        if _is_over(job, record):
            logger.debug("job %s died, but it had ended or was requeued", job.id)
            return True
        if "holder" in record and float(record.get("lease", 0)) > float(clock):
            return False
        result = Result(JobState.FAILED, job.accepted, now, error=letter.explain())
        forgotten = self._run(*self._keeping(letter, self._whole(job, body)))
        self._run(running.FINISH, *ending(job, result, job.result_lifetime))  # then: it may break off before
        if forgotten >= 0:
            self._warn(letter, forgotten)
        return True

    def letters(self, ids: Sequence[str] = ()) -> list[Letter]:
        """List these letters, those that there are; default: all, oldest first."""
        texts = self._run(letters.LETTERS, KEYS[:2], [time.time() - LIFETIME, *ids])
        return [Letter.from_wire(json.loads(text)) for text in texts]

    def requeue(self, publisher: Publisher, endpoint: Endpoint, letter: Letter) -> JobState | None:
        """Let a dead job run again, with a new deadline; its letter is forgotten when the broker has it.

        Should this break off, the letter is still there, and it can be done again.

        Args:
            publisher: of this process.
            endpoint: that the job is for.
            letter: one that holds a job.

        Returns:
            queued; or how the job runs or ended meanwhile; None if the letter is gone.

        Raises:
            BrokerUnavailable: the broker did not take the message; nothing has changed.
        """
        dead = job_of(self._run(letters.BODY, [KEYS[2]], [letter.id]) or "")
        if dead is None:
            return None
        deadline = time.time() + endpoint.max_time_in_queue
        light, blobs, texts = pack(dead.inputs)
        job = replace(dead, queue=endpoint.queue, deadline=deadline, inputs=light, blobs=blobs)
        keys = [job_key(job.id), waiting_key(job.queue), owner_key(job.owner)]
        args = [job.id, waiting_score(job), UNFINISHED_LIFETIME, job.accepted, *flat(unstarted(job))]
        state = JobState(self._run(letters.REQUEUE, keys, args))
        if state is JobState.QUEUED:
            try:
                if texts:
                    self._store.put_texts(texts)
                publisher.publish(job, endpoint, recorded=True)
            except BaseException:
                self._fail_again(job, letter)
                raise
        self._run(letters.FORGET, KEYS, [letter.id, letter.died])  # not one of a later death
        return state

    def drop(self, letter_id: str) -> None:
        """Forget a letter; its job stays failed."""
        self._run(letters.FORGET, KEYS, [letter_id, ""])

    def _run(self, script: str, keys: list[str], args: list[Any]) -> Any:
        (answer,) = self._store.run([(script, keys, args)])
        return answer

    def _keeping(self, letter: Letter, body: str) -> tuple[str, list[str], list[Any]]:
        text = dumps(letter.to_wire())
        args = [letter.id, letter.died, text, body, LIFETIME, MOST, MOST_BYTES]
        return letters.KEEP, [*KEYS, job_key(letter.id)], args

    def _whole(self, job: Job, body: str) -> str:
        """Give the body with the large inputs in it: they go when the job ends."""
        if not job.blobs:
            return body
        texts = self._store.texts([name for _, name in job.blobs])
        whole = replace(job, inputs=unpack(job.inputs, job.blobs, texts), blobs=[])
        return dumps([[whole.to_wire()], {}, {}])

    def _fail_again(self, job: Job, letter: Letter) -> None:
        """End a job whose message the broker may have taken or not: a worker that gets it shall drop it."""
        now = time.time()
        result = Result(JobState.FAILED, job.accepted, now, error=letter.explain())
        lifetime = max(job.result_lifetime, job.deadline - now + CLOCKS_DIFFER)
        self._run(running.FINISH, *ending(job, result, lifetime))

    def _warn(self, letter: Letter, forgotten: int) -> None:
        logger.warning("dead letter %s of queue %s: %s", letter.id, letter.queue, letter.explain())
        if forgotten:
            logger.warning("the %d oldest dead letters are forgotten", forgotten)


def _is_over(job: Job, record: dict[str, str]) -> bool:
    """Tell whether a dead message says nothing of its job any more.

    A requeued job has a new deadline: a message with another one is of its life before.
    """
    if "deadline" in record and float(record["deadline"]) != job.deadline:
        return True
    return "state" in record and JobState(record["state"]).terminal
