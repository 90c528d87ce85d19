"""A minute of `make fuzz`: every kind of input from strangers is taken, or refused in one sentence. And what SECURITY.md says of them."""

import json
import os
import re
import subprocess
import sys
import time

import pytest
from fuzz import KINDS, judge
from fuzz.campaign import ROOT, Worker, seed_of_today

from imggen_core.kit import images, svg, svg_cairo, untrusted
from imggen_core.worlds import design_files

SECONDS = 4  # for each kind


@pytest.fixture(scope="module")
def worker():
    made = Worker()
    yield made
    made.end()


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if kind != "trainings"]
)  # they take seconds each: test_contract has the usual ones
def test_what_a_stranger_gives_is_taken_or_refused_in_one_sentence(kind, worker):
    end, number, found = time.monotonic() + SECONDS, 0, []
    while time.monotonic() < end or number < 3:
        result = worker.tried(kind, seed_of_today(), number)
        if result["outcome"] == "unexpected":
            found.append(f"IMGGEN_FUZZ_SEED={seed_of_today()} python -m fuzz {kind} {number}\n{result['what']}")
        number += 1
    assert not found, "\n\n".join(found)


def test_an_input_depends_on_its_kind_seed_and_number_alone():
    for kind in ("svg", "pictures", "settings", "config"):
        first, again, other = (judge.made(kind, 5, number)[0] for number in (3, 3, 4))
        assert repr(first) == repr(again) != repr(other)


WRONG = {  # what an input may bring about, and what the judge says of it
    "1 / 0": "ZeroDivisionError", "raise SystemExit(0)": "SystemExit", "warnings.warn('look out')": "on the screen",
    "os.write(2, b'libtiff: hm')": "on the screen", "open('../../outside', 'w').close()": "writes outside",
    "os.symlink('/etc', '../../outside')": "writes outside", "tempfile.mkstemp()": "a file was left behind",
    "pickle.loads(pickle.dumps(ValueError))": "unpickles", "subprocess.Popen(['sleep', '60'])": "a process was left behind",
    "bytes(range(1, 251)) * 2_000_000": "MB", "while judge.spent() < 3: pass": "took ",
    "socket.create_connection(('localhost', 9))": "looks up",
}  # fmt: skip
RIGHT = ["1 + 1", "raise InputError('one line')", "open('inside', 'w').close()", "print('a line')"]

PROGRAM = """
import json, os, pickle, socket, subprocess, sys, tempfile, warnings
from fuzz import judge
from imggen_core import cli
from imggen_core.kit.settings import InputError
sys.addaudithook(judge.audit)
judge.MEGABYTES = judge.peak() + 300
print(json.dumps([judge.judged(lambda source: exec(source, globals()), source, 1) for source in json.loads(sys.argv[1])]))
"""


def test_the_judge_sees_what_must_not_happen_and_nothing_else(tmp_path):
    paths = {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "TMPDIR": str(tmp_path)}
    command = [sys.executable, "-c", PROGRAM, json.dumps([*WRONG, *RIGHT])]
    verdicts = json.loads(subprocess.run(command, env=os.environ | paths, capture_output=True, text=True, check=True).stdout)
    for (source, says), verdict in zip([*WRONG.items(), *((source, "") for source in RIGHT)], verdicts, strict=True):
        assert (verdict["outcome"] == "unexpected") == bool(says) and says in verdict["what"], (source, verdict)


def test_security_says_the_limits_that_the_code_has():
    words = " ".join((ROOT / "SECURITY.md").read_text().split())
    drawing = f"{svg.FILE_BYTES // 10**6} MB, {svg.CPU_SECONDS} s of processor time, {svg.WALL_SECONDS} s by the clock, "
    drawing += f"{svg.MEMORY >> 20:,} MB of memory, {images.PIXELS:,} pixels; an embedded picture {svg_cairo.EMBEDDED_PIXELS:,}"
    text = f"JSON {untrusted.JSON_BYTES >> 20} MB, {untrusted.DEPTH} levels deep"
    limits = [drawing, f"{', '.join(images.FORMATS)} | {images.FILE_PIXELS:,} pixels",
              f"{text}; weights {untrusted.WEIGHTS_BYTES >> 20} MB and {untrusted.NUMBERS:,} numbers",
              f"{images.PIXELS:,} pixels, {design_files.METADATA_BYTES:,} bytes of metadata",
              f"{text}; a state {untrusted.STATE_BYTES >> 20:,} MB",
              f"a line of {judge.LINE} characters", f"{judge.SECONDS} s of processor time",
              f"{judge.MEGABYTES:,} MB of memory"]  # fmt: skip
    assert [limit for limit in limits if limit not in words] == []
    assert len(re.findall(r"\w+", words)) < 700, "more than a page"
