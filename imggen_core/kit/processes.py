"""Processes that share one machine's work: spawned, never forked; each computes on one thread and ends when its parent does."""

import multiprocessing
import os
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from importlib import import_module

import torch

from .parameters import Whole

WORKERS = Whole(0, 64, "processes that share the work; 0: this process alone", "processes")


def spawned(workers: int):
    """A context with a pool of `workers` spawned processes, or with None for 0 workers; InputError for what is no such number."""
    workers = WORKERS.read("workers", workers)
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _prepare) if workers else nullcontext()


def _prepare() -> None:
    """In a spawned process: one thread, and end when the parent is gone."""
    torch.set_num_threads(1)
    parent = multiprocessing.parent_process()
    threading.Thread(target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


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
