"""In which order a worker empties its queues on Redis."""

from collections import Counter

from kombu.utils.scheduling import cycle_by_name

from tasks.jobs import Priority
from tasks.redisqueues import TURNS

QUEUES = ["a.bulk", "a", "b", "a.high"]


def cycle():
    made = cycle_by_name("tasks.redisqueues:PriorityCycle")()
    made.update(QUEUES)
    return made


def served(cycle, full, count):
    """Queues that gave a message, if those in `full` never run dry."""
    taken = []
    for _ in range(count):
        taken.append(next(name for name in cycle.consume(len(QUEUES)) if name in full))
        cycle.rotate(taken[-1])
    return taken


def test_high_is_asked_first_and_the_others_get_their_turns():
    counts = Counter(served(cycle(), QUEUES, 64))
    assert counts["a.bulk"] == 64 // TURNS[Priority.BULK]
    assert counts["a"] + counts["b"] == 64 // TURNS[Priority.NORMAL] - counts["a.bulk"]
    assert counts["a.high"] == 48


def test_queues_of_one_priority_take_turns():
    assert Counter(served(cycle(), ["a", "b"], 20)) == {"a": 10, "b": 10}


def test_nothing_waits_for_a_queue_that_is_empty():
    assert served(cycle(), ["a.bulk"], 3) == ["a.bulk"] * 3
