"""Processes that end with the one that started them, however that one ends; and pools that share one machine's work.

Everything that `imggen run` and `imggen train` start carries a mark in its environment: the number of the command's process. What
carries one follows that process from the import of imggen_core on (a thread waits for its end), and when it is gone, kills
everything else with the same mark and then itself: torchrun and its workers, papermill and its kernel, and what these started.
"""

import contextlib
import functools
import multiprocessing
import os
import select
import signal
import subprocess
import threading
import time
import uuid
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from importlib import import_module

from .parameters import Whole

WORKERS = Whole(0, 64, "processes that share the work; 0: this process alone", "processes")
MARK = "IMGGEN_COMMAND"


# ---- ending with another process -------------------------------------------------------------------------------------


def new_mark() -> str:
    """A mark for what this process is about to start."""
    return f"{os.getpid()}-{uuid.uuid4().hex}"


def command() -> int | None:
    """The number of the process whose command this process belongs to; None where it belongs to none."""
    number = os.environ.get(MARK, "").partition("-")[0]
    return int(number) if number.isdecimal() else None


def follow() -> None:
    """Let this process end with the command that it belongs to, if it belongs to one."""
    if pid := command():
        end_with(pid)


@functools.cache  # asked again, it does no more
def end_with(pid: int) -> None:
    """Let this process end, and what carries its mark, as soon as process `pid` is gone, also by kill -9; at once if it is gone already."""
    threading.Thread(target=_end_with, args=(pid,), name=f"ends with process {pid}", daemon=True).start()


def _end_with(pid: int) -> None:
    wait_for_end(pid)
    if MARK in os.environ:
        kill_marked(os.environ[MARK])
    os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))


def wait_for_end(pid: int) -> None:
    """Wait until process `pid`, not a child of this one, runs no more; what its parent has not asked after (a zombie) has ended, too."""
    import psutil

    with contextlib.suppress(AttributeError, OSError):  # Linux tells; elsewhere, and where a sandbox forbids it, one has to ask
        ended = select.poll()
        ended.register(os.pidfd_open(pid), select.POLLIN)
        ended.poll()
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            time.sleep(0.3)


def kill_marked(mark: str, process: subprocess.Popen | None = None) -> None:
    """Kill every process that carries `mark` but this one; and `process`, a child of this one, with all that descends from it."""
    import psutil

    def carries(candidate: psutil.Process) -> bool:
        try:
            return candidate.pid != os.getpid() and candidate.environ().get(MARK) == mark
        except (psutil.Error, OSError):
            return False

    for _ in range(50):  # a process may be starting another one at this very moment
        victims = [candidate for candidate in psutil.process_iter() if carries(candidate)]
        if process and process.poll() is None:
            with contextlib.suppress(psutil.Error):
                victims += psutil.Process(process.pid).children(recursive=True)
            process.kill()
        for victim in victims:
            with contextlib.suppress(psutil.Error):
                victim.kill()
        if process:
            process.wait(timeout=10)
        if not victims:
            return
        time.sleep(0.05)


# ---- pools -----------------------------------------------------------------------------------------------------------


def spawned(workers: int):
    """A context with a pool of `workers` spawned processes, or with None for 0 workers; InputError for what is no such number."""
    workers = WORKERS.read("workers", workers)
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _prepare) if workers else nullcontext()


def _prepare() -> None:
    """In a spawned process: one thread, and end when the parent is gone."""
    import torch

    torch.set_num_threads(1)
    end_with(multiprocessing.parent_process().pid)


def importable(thing, module: str):
    """The function or class `thing` as `module` has it: a spawned process can import that, and not what a notebook's cell defines."""
    return getattr(import_module(module), thing.__name__, thing)


def wake(pool: ProcessPoolExecutor, count: int, module: str) -> dict[int, float]:
    """CPU seconds that each of the pool's `count` processes used until `module` was imported, by process id."""
    started = {}
    while len(started) < count:
        jobs = [pool.submit(_awake, module) for _ in range(count)]
        started |= dict(job.result() for job in jobs)
    return started


def _awake(module: str) -> tuple[int, float]:
    import_module(module)
    return os.getpid(), time.process_time()
