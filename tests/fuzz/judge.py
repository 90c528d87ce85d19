"""Tries one input and says what came of it: refused in one sentence, accepted, or something that must not happen."""

import importlib
import os
import random
import shutil
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path

import psutil

SECONDS, MEGABYTES, LINE = 10, 2048, 200  # processor time, memory at its peak, characters of a refusal

FORBIDDEN = {"pickle.find_class": "unpickles", "socket.connect": "connects to", "socket.getaddrinfo": "looks up", "os.system": "runs"}
CHANGES = {"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod", "shutil.rmtree"}
PLACE = tempfile.gettempdir()
CACHE = os.path.realpath(Path(__file__).parents[2] / "data" / "cache")  # what the worlds have drawn before
seen: list[str] = []  # what the audit hook has to say of the input that is being tried
inside: Path | None = None  # where that input may write


def audit(event: str, details: tuple) -> None:
    """Python calls this at everything that reaches beyond the process."""
    if inside is None or not (event == "open" or event in CHANGES or event in FORBIDDEN):
        return
    if event in FORBIDDEN:
        seen.append(f"{FORBIDDEN[event]} {details!r:.200}")
    elif event != "open" or isinstance(details[0], (str, bytes)) and details[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC):
        paths = details[:1] if event == "open" else details[1:2] if event in ("os.link", "os.symlink") else details[:2]
        for path in [path for path in paths if isinstance(path, (str, bytes))]:
            real = os.path.realpath(os.fsdecode(path))
            if not Path(real).is_relative_to(inside) and not real.startswith(("/dev/null", "/proc/self", CACHE)):
                seen.append(f"{event} writes outside of the folder that was named: {real[-150:]}")


def made(kind: str, seed: int, number: int):
    """Input `number` of a kind, and the function that takes it."""
    module, chance = importlib.import_module(f"fuzz.{kind}"), random.Random(f"{kind}/{seed}/{number}")
    return module.mutate(chance, chance.choice(module.seeds())), module.feed


def tried(kind: str, seed: int, number: int) -> dict:
    """What came of one input, as `judged`."""
    data, feed = made(kind, seed, number)
    return judged(feed, data, patience(kind))


def patience(kind: str) -> float:
    """How many seconds an input of this kind may take."""
    return getattr(importlib.import_module(f"fuzz.{kind}"), "SECONDS", SECONDS)


def judged(feed: Callable, data, most: float = SECONDS) -> dict:
    """What came of `feed(data)`: {"outcome": refused, accepted or unexpected, "what", "seconds", "megabytes"}."""
    global inside
    base = Path(tempfile.mkdtemp(prefix="fuzz-", dir=PLACE)).resolve()
    for name in ("given", "home", "tmp"):
        (base / name).mkdir()
    os.chdir(base / "given")
    os.environ.update(HOME=str(base / "home"), TMPDIR=str(base / "tmp"))
    tempfile.tempdir = None
    seen.clear()
    forget_peak()
    error, begun = None, spent()
    screen = Screen(base / "screen")
    inside = base
    try:
        with screen, warnings.catch_warnings():
            for category in (UserWarning, RuntimeWarning, SyntaxWarning, FutureWarning):
                warnings.simplefilter("always", category)
            feed(data)
    except BaseException as raised:
        error = raised
    finally:
        inside = None
    seconds, megabytes = spent() - begun, peak()
    wrong = [*seen, *what_is_wrong(error, screen), *left_behind(base)]
    if seconds > most:
        wrong.append(f"took {seconds:.0f} s")
    if megabytes > MEGABYTES:
        wrong.append(f"took {megabytes:.0f} MB")
    os.chdir("/")
    shutil.rmtree(base, ignore_errors=True)
    outcome = "unexpected" if wrong else "refused" if error else "accepted"
    return {"outcome": outcome, "what": "\n".join(wrong) or str(error or "")[:300], "seconds": seconds, "megabytes": megabytes}


def what_is_wrong(error: BaseException | None, screen: "Screen") -> list[str]:
    """What is wrong with an error, and with what was written on the screen."""
    from imggen_core import cli
    from imggen_core.kit import files

    wrong = []
    if error is not None:
        line, status = cli.verdict(error) if isinstance(error, Exception) else (repr(error), 1)
        line = cli.fitted(files.printable(line))  # as it comes on the screen
        if status != 2:
            wrong.append("".join(traceback.format_exception(error))[-4000:])
        elif "\n" in line or "\r" in line or not line.isprintable():
            wrong.append(f"a refusal of several lines: {line!r:.600}")
        elif len(line) > LINE:
            wrong.append(f"a refusal of {len(line)} characters: {line!r:.600}")
        elif "allocate" in line or "MemoryError" in line:
            wrong.append(f"refused because memory ran out: {line}")
    if screen.errors.strip():
        wrong.append(f"on the screen: {screen.errors[:2000]}")
    return wrong


def left_behind(base: Path) -> list[str]:
    """Processes and files that should not be there."""
    wrong, processes = [], psutil.Process().children(recursive=True)
    for process in psutil.wait_procs(processes, 1)[1] if processes else ():
        wrong.append(f"a process was left behind: {process!r}")
        process.kill()
    wrong += [f"a file was left behind: {path.relative_to(base)}" for path in (base / "tmp").iterdir()]
    wrong += [f"half a file was left behind: {path.relative_to(base)}" for path in base.rglob(".part-*")]
    return wrong


class Screen:
    """What is written to the two standard streams, also by libraries in C, kept in files for a while."""

    def __init__(self, path: Path):
        self.path, self.errors = path, ""

    def __enter__(self):
        sys.stdout.flush(), sys.stderr.flush()
        self.kept = os.dup(1), os.dup(2)
        self.files = [open(f"{self.path}{n}", "w+b") for n in (1, 2)]
        for n, file in enumerate(self.files, 1):
            os.dup2(file.fileno(), n)
        return self

    def __exit__(self, *error):
        sys.stdout.flush(), sys.stderr.flush()
        for n, kept in enumerate(self.kept, 1):
            os.dup2(kept, n)
            os.close(kept)
        self.files[1].seek(0)
        self.errors = self.files[1].read(100_000).decode(errors="replace")
        for file in self.files:
            file.close()


def spent() -> float:
    """Processor seconds of this process and of those that it waited for."""
    return sum(os.times()[:4])


def forget_peak() -> None:
    if os.path.exists("/proc/self/clear_refs"):
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")


def peak() -> float:
    """Megabytes of this process at its highest since `forget_peak`; elsewhere than on Linux, at its highest ever."""
    if os.path.exists("/proc/self/status"):
        return next(int(line.split()[1]) / 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
