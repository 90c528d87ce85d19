"""Watches the worker: gives it inputs, ends it where one hangs, and keeps count."""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from fuzz import judge

ROOT = Path(__file__).resolve().parents[2]
FINDINGS = ROOT / "runs" / "fuzz"
PATIENCE = 6  # times as long by the clock as in processor seconds until an input counts as hanging: the machine may be busy


def seed_of_today() -> int:
    """IMGGEN_FUZZ_SEED, or else the date: every day tries other inputs."""
    return int(os.environ.get("IMGGEN_FUZZ_SEED") or time.strftime("%Y%m%d"))


@dataclass
class Count:
    """What came of the inputs of one kind."""

    inputs: int = 0
    refused: int = 0
    accepted: int = 0
    unexpected: int = 0
    seconds: float = 0
    megabytes: float = 0
    spent: float = 0

    def add(self, result: dict) -> None:
        self.inputs += 1
        setattr(self, result["outcome"], getattr(self, result["outcome"]) + 1)
        self.seconds, self.megabytes = max(self.seconds, result["seconds"]), max(self.megabytes, result["megabytes"])


class Worker:
    """A process that lives through many inputs, and is started again where one ended it."""

    def __init__(self):
        self.process = None

    def start(self) -> None:
        self.words, self.place = tempfile.TemporaryFile("w+b"), tempfile.TemporaryDirectory(prefix="fuzz-")
        own = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")]), "TMPDIR": self.place.name, "IMGGEN_DEBUG": "1",
               "HF_HUB_OFFLINE": "1", "MPLBACKEND": "Agg", "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}  # fmt: skip
        command = [sys.executable, "-m", "fuzz.worker"]
        streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": self.words}
        self.process = subprocess.Popen(command, cwd=ROOT, env=os.environ | own, **streams)
        if self.answer(600) != "ready":
            raise RuntimeError(f"the worker does not start:\n{self.last_words()}")

    def answer(self, seconds: float):
        """What the worker says within so long; None where it says nothing."""
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        line = self.process.stdout.readline() if ready else b""
        return json.loads(line) if line else None

    def tried(self, kind: str, seed: int, number: int) -> dict:
        """`judge.tried`, also where it hangs or ends the process."""
        if self.process is None:
            self.start()
        begun = time.monotonic()
        self.process.stdin.write(json.dumps([kind, seed, number]).encode() + b"\n")
        self.process.stdin.flush()
        result = self.answer(PATIENCE * judge.patience(kind))
        if result is None:
            seconds = time.monotonic() - begun
            self.process.send_signal(signal.SIGABRT)  # faulthandler writes where it hangs
            what = f"hung, or ended the process, after {seconds:.0f} s:\n{self.end()}"
            result = {"outcome": "unexpected", "what": what, "seconds": seconds, "megabytes": 0}
        elif result["tired"]:
            self.end()
        if result["outcome"] == "unexpected":
            keep(kind, seed, number, result["what"])
        return result

    def end(self) -> str:
        """End the process; its last words."""
        if self.process is None:
            return ""
        with contextlib.suppress(OSError):
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.place.cleanup()  # what an input left there that ended the process
        self.process = None
        return self.last_words()

    def last_words(self) -> str:
        self.words.seek(0)
        text = self.words.read().decode(errors="replace")
        return text[max(0, text.find("Fatal Python error")) :][:3000]


def keep(kind: str, seed: int, number: int, what: str) -> None:
    """Write a finding to runs/fuzz/KIND-SEED-NUMBER: what happened and, where it is text or bytes, what was given."""
    folder = FINDINGS / f"{kind}-{seed}-{number}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "what.txt").write_text(f"again, in tests/: IMGGEN_FUZZ_SEED={seed} python -m fuzz {kind} {number}\n\n{what}\n",
     errors="replace")  # fmt: skip
    data = judge.made(kind, seed, number)[0]
    for name, content in data.items() if isinstance(data, dict) else [("input", data)]:
        content = content if isinstance(content, (bytes, str)) else repr(content)
        content = content if isinstance(content, bytes) else content.encode(errors="backslashreplace")
        (folder / Path(str(name)).name).write_bytes(content)


def table(counts: dict[str, Count]) -> str:
    """What the long run ends with."""
    rows = [("kind", "inputs", "refused in one sentence", "accepted", "unexpected", "slowest s", "peak MB")]
    for name, count in [*counts.items(), ("all", total(counts))]:
        numbers = (count.inputs, count.refused, count.accepted, count.unexpected)
        rows.append((name, *(f"{number:,}" for number in numbers), f"{count.seconds:.1f}", f"{count.megabytes:,.0f}"))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(f"{text:>{width}}" if k else f"{text:<{width}}" for k, (text, width) in enumerate(zip(row, widths,
                     strict=True))) for row in rows)  # fmt: skip


def total(counts: dict[str, Count]) -> Count:
    sums = [sum(getattr(count, name) for count in counts.values()) for name in ("inputs", "refused", "accepted", "unexpected")]
    peaks = [max(getattr(count, name) for count in counts.values()) for name in ("seconds", "megabytes")]
    return Count(*sums, *peaks)
