"""The job store: every Redis key, its type and its lifetime.

    key                      type     what                                    lifetime
    job:<id>                 hash     state, times, progress, result          a week; then result_lifetime
    waiting:<queue>          zset     ids of waiting jobs by priority and age -
    open:<owner>:<endpoint>  zset     ids of a limited client's jobs by deadline  a week after the last
    share:<owner>:<queue>    zset     ids of a client's jobs by deadline      a week after the last
    day:<owner>:<ep>:<day>   hash     what a limited client has used          two days
    usage                    list     jobs that ended: see `tasks/usage/`     until they are in the database
    bytes:<endpoint>         hash     size of its large jobs, and of all      a week after the last
    rate:...                 string   requests of a client: see `tasks/rates.py`  two minutes
    session:<id>:<endpoint>  hash     session variables (JSON each)           a day; 30 days after each return
    workers:<queue>          hash     name -> WorkerInfo (JSON) with expiry   -
    jobs:<owner>             zset     ids of its newest jobs by arrival       a week after the last one
    idempotency:<owner>:..   string   what a key stands for                   tasks/idempotency.py
    blob:<name>              string   a large input or output, or an upload   end of the job; result_lifetime
    uploads:<owner>          hash     its uploads: see `tasks/uploads.py`     that of the last one
    dead:...                          see `tasks/deadletters.py`              a week
    webhook...                        see `tasks/webhooks/outbox.py`          4 days
    replies:<process>        channel  "<job id> <result JSON>"                -
    job:<id>                 channel  "": the job has changed                 -
    events:<process>         channel  "": another job is followed             -

A terminal state never changes: the scripts of `tasks/scripts/` look before they write.
"""

from tasks.store.jobstore import JobStore

__all__ = ["JobStore"]
