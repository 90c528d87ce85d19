"""Trainings in processes of their own: killed by -9, or shared by two; forked by a server that has torch in memory, which saves seconds."""

import importlib
import importlib.util
import multiprocessing
import os
import signal
import socket
from pathlib import Path

import torch

from imggen_core.kit import settings

SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload([f"imggen_core.{name}" for name, chapter in settings.chapters().items() if chapter.ready])


def weights(model) -> dict[str, torch.Tensor]:
    """Everything that a trained model holds, also where a chapter trains several: {name: tensor}."""
    if isinstance(model, dict):
        return {f"{name}.{key}": value for name, net in model.items() for key, value in net.state_dict().items()}
    return dict(model.state_dict())


def same(one: dict, other: dict) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name].cpu(), other[name].cpu()) for name in one)


def train(chapter: str, folder: Path, parameters: dict, **given):
    """The chapter's training in this process, in float32."""
    from imggen_core.kit.run import Run

    run, module = Run(chapter, {}, folder=folder, device="cpu", precision="float32", quiet=True, **given), import_chapter(chapter)
    if chapter == "designer":  # the two slow figures of its evaluation, which no weight depends on
        module.condition_diversity = lambda *given, **named: {"same_over_other_meta": 0.5, "diversity_over_real": 1.0}
        module.seconds_per_picture = lambda model: 0.1
    return module.train(run, **parameters)


def import_chapter(chapter: str):
    """A copy of the chapter's module of its own, so that what is put in place of its functions stays here."""
    spec = importlib.util.find_spec(f"imggen_core.{chapter}")
    if chapter != "designer":
        return importlib.import_module(spec.name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _train_and_die(chapter: str, folder: Path, parameters: dict, last: int) -> None:
    """Train, saved after every step, and die by -9 in the `last`-th call of `step` or `log`."""
    from imggen_core.kit.run import Run

    calls = 0

    def dying(method):
        def call(self, *given, **named):
            nonlocal calls
            answer = method(self, *given, **named)
            calls += 1
            if calls == last:
                os.kill(os.getpid(), signal.SIGKILL)
            return answer

        return call

    Run.step, Run.log = dying(Run.step), dying(Run.log)
    torch.set_num_threads(1)
    train(chapter, folder, parameters, save_seconds=0)


def kill(chapter: str, folder: Path, parameters: dict, last: int) -> None:
    """Begin or go on with the chapter's training in `folder` and kill it at the `last`-th call; fails if it ended otherwise."""
    process = SERVER.Process(target=_train_and_die, args=(chapter, folder, parameters, last))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL, f"{chapter}: ended with {process.exitcode} before call {last}"


def _train_as_rank(chapter: str, folder: Path, parameters: dict, rank: int, port: int) -> None:
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
                   "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}  # fmt: skip
    torch.set_num_threads(1)
    model = train(chapter, folder, parameters)
    learnt = dict(model.named_parameters()) or weights(model)  # without what the first process alone measures at the end
    torch.save({name: value.detach() for name, value in learnt.items()}, f"{folder}-rank{rank}.pt")
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def train_in_two(chapter: str, folder: Path, parameters: dict) -> list[dict[str, torch.Tensor]]:
    """The chapter's training shared by two processes, as torchrun would start them; the parameters that each of them ends with."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ranks = [SERVER.Process(target=_train_as_rank, args=(chapter, folder, parameters, rank, port)) for rank in (0, 1)]
    for process in ranks:
        process.start()
    for process in ranks:
        process.join(180)
    assert [process.exitcode for process in ranks] == [0, 0], f"{chapter}: the two processes ended with {[p.exitcode for p in ranks]}"
    return [torch.load(f"{folder}-rank{rank}.pt", weights_only=True) for rank in (0, 1)]
