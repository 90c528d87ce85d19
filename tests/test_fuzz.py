"""A minute of `make fuzz`: every kind of input from strangers is taken, or refused in one sentence (tests/fuzz)."""

import time

import pytest
from fuzz import KINDS
from fuzz.campaign import Worker, seed_of_today

SECONDS = 4  # for each kind


@pytest.fixture(scope="module")
def worker():
    made = Worker()
    yield made
    made.end()


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_stranger_gives_is_taken_or_refused_in_one_sentence(kind, worker):
    end, number, found = time.monotonic() + SECONDS, 0, []
    while time.monotonic() < end or number < 3:
        result = worker.tried(kind, seed_of_today(), number)
        if result["outcome"] == "unexpected":
            found.append(f"IMGGEN_FUZZ_SEED={seed_of_today()} python -m fuzz {kind} {number}\n{result['what']}")
        number += 1
    assert not found, "\n\n".join(found)
