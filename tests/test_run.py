"""A run that is killed and started again ends bit-identical; what it saves is whole or not there; bad folders get one line.

This file is also the program that is killed: `serve` imports PyTorch once and then forks a fresh process for every training it is
asked for, so that dozens of real processes can be killed in seconds.
"""

import csv
import errno
import hashlib
import json
import math
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from conftest import notebook
from huggingface_hub import PyTorchModelHubMixin
from torch import nn
from torch.utils.data import DataLoader, Dataset

from imggen_core.kit import cards, processes, settings, zoo
from imggen_core.kit import folder as folders
from imggen_core.kit import run as run_module
from imggen_core.kit import state as states
from imggen_core.kit.folder import claim
from imggen_core.kit.history import Clock
from imggen_core.kit.notebooks import run_notebook
from imggen_core.kit.run import Run
from imggen_core.kit.settings import InputError

HERE = Path(__file__).resolve()
ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1", "IMGGEN_HEADLESS": "1", "PYTHONPATH": f"{HERE.parents[1]}{os.pathsep}{HERE.parent}"}


# ------------------------------------------------------------------------------------------- the training that the tests interrupt


class Noisy(Dataset):
    """Pictures to which every global generator adds something: data loading itself is random."""

    def __init__(self, n=24):
        self.images = torch.rand(n, 3, 6, 6, generator=torch.Generator().manual_seed(5))

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i] + 0.01 * torch.randn(3, 6, 6) + 0.01 * random.random() + 0.01 * float(np.random.randn())


class Net(nn.Module, PyTorchModelHubMixin):
    """Convolutions, batch statistics and dropout."""

    def __init__(self, width: int = 4):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.Dropout(0.2),
                                  nn.Conv2d(width, 3, 3, padding=1))  # fmt: skip

    def forward(self, x):
        return self.body(x)


class Average:
    """An exponential moving average of a network: an object that only has a state."""

    def __init__(self, net):
        self.values = {name: value.detach().clone() for name, value in net.state_dict().items()}

    def update(self, net):
        for name, value in net.state_dict().items():
            self.values[name] = torch.lerp(self.values[name].float(), value.float(), 0.1)

    def state_dict(self):
        return self.values

    def load_state_dict(self, state):
        self.values = state


def train(run, *, epochs=4, steps=12, workers=0, watch=None):
    """A training with everything that has a state; returns what must end the same, however often it was interrupted."""
    first = run.part("first", width=3)
    net = nn.Linear(3, 3)
    net, opt = first.prepare(net, torch.optim.SGD(net.parameters(), 0.05, momentum=0.9))
    for step in first.steps(steps):
        first.step(net(torch.randn(4, 3)).square().mean(), opt)
        if step % 3 == 0:
            first.log(norm=net.weight.norm())
            first.picture(torch.rand(3, 4, 4))
        if watch:
            watch()

    net, loader = Net(), DataLoader(Noisy(), 4, shuffle=True, num_workers=workers, generator=torch.Generator().manual_seed(run.seed))
    opt, own = torch.optim.AdamW(net.parameters(), 0.01), torch.Generator().manual_seed(3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(opt, 0.02, total_steps=200)
    average = Average(net)
    net, opt, loader, schedule, average, own = run.prepare(net, opt, loader, schedule, average, own)
    run.log(start=1.0)
    for epoch in run.epochs(epochs):
        for image in run.batches(loader):
            noise = 0.1 * torch.randn(image.shape, generator=own) + 0.1 * torch.randn(image.shape) + 0.01 * random.gauss(0, 1)
            if run.step((net(image + noise) - image).square().mean(), opt):
                average.update(run.unwrap(net))
            schedule.step()
            if watch:
                watch()
        run.log(loss=run.mean_loss, rate=schedule.get_last_lr()[0])
        run.keep_best(net, "loss", "min")
        run.picture(torch.rand(3, 4, 4))
        if epoch == 2:
            run.log(late=random.random())
    for step in run.steps(steps):
        run.step((net(torch.rand(2, 3, 6, 6)) - 0.5).square().mean(), opt)
        if step % 5 == 4:
            run.log(loss=run.mean_loss, extra=float(np.random.rand()))
        if watch:
            watch()
    run.results(loss=run.history["loss"][-1])
    run.keep(net, "> the last one")
    states = {"net": net.state_dict(), "opt": opt.state_dict(), "schedule": schedule.state_dict()}
    return {**states, "average": average.values, "random": torch.rand(3)}


def fingerprint(value) -> str:
    tensors = {}
    text = json.dumps(states.pack(value, tensors, ""))
    parts = [tensor.reshape(-1).view(torch.uint8).numpy().tobytes() for tensor in tensors.values()]
    return hashlib.sha256(b"".join([text.encode(), *parts])).hexdigest()


def rows(path):
    """A history's rows without the columns that say how long it took."""
    with open(path, newline="") as file:
        return [{name: value for name, value in row.items() if name not in ("seconds", "cpu_seconds")} for row in csv.DictReader(file)]


def left_behind(folder):
    """Everything a finished run leaves that must not depend on interruptions."""
    folder = Path(folder)
    kept = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.png")}
    kept |= {str(path.relative_to(folder)): path.read_bytes() for path in (folder / "model").glob("*.*")}
    kept |= {str(path.relative_to(folder)): rows(path) for path in folder.rglob("history.csv")}
    return kept | {"results": json.loads((folder / "results.json").read_text())}


def make_run(folder, save_seconds=0.0, accumulate=3, precision="no"):
    return Run("toy", {"epochs": 4}, folder=folder, device="cpu", precision=precision, seed=1, accumulate=accumulate, clip=0.5,
               save_seconds=save_seconds)  # fmt: skip


def program(folder, save_seconds=0.02, slow=0.0, kill_at=None, no_pickle=False):
    """One training from start to end, as a process of its own: leaves its fingerprint in FOLDER.end."""
    if kill_at is not None or no_pickle:
        watch_files(str(folder), kill_at, no_pickle)

    def watch():
        with open(f"{folder}.steps", "a") as file:
            file.write(".")
        time.sleep(slow)

    end = fingerprint(train(make_run(folder, save_seconds), watch=watch))
    Path(f"{folder}.end").write_text(end)


def watch_files(folder, kill_at, no_pickle):
    """Kill this process before its `kill_at`-th file operation in `folder`; refuse to unpickle anything."""
    count = 0

    def hook(event, args):
        nonlocal count
        if no_pickle and event == "pickle.find_class":
            os._exit(77)
        if event in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree") and str(args[0]).startswith(folder + "/"):
            if event == "open" and args[2] & os.O_ACCMODE == os.O_RDONLY or "tensorboard" in str(args[0]):
                return
            count += 1
            if count == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def serve():
    """Fork a process for every line of arguments; answer its number, then (when told to wait) its exit status."""
    answers, sys.stdout = sys.stdout, sys.stderr
    from torch.utils.tensorboard import SummaryWriter  # noqa: F401

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:  # PyTorch imports a good part of itself when the first optimiser is made
        make_run(folder).prepare(Net())
    for line in sys.stdin:
        order = json.loads(line)
        if "wait" in order:
            print(os.waitpid(order["wait"], 0)[1], file=answers, flush=True)
            continue
        pid = os.fork()
        if pid == 0:
            with open(f"{order['folder']}.out", "a") as out:
                os.dup2(out.fileno(), 1)
                os.dup2(out.fileno(), 2)
            status = 1
            try:
                os.environ.update(order.pop("env", {}))
                {"program": program, "worker": worker, "unlike": unlike}[order.pop("call")](**order)
                status = 0
            except BaseException:
                import traceback

                traceback.print_exc()
            finally:
                sys.stdout.flush()
                os._exit(status)
        print(pid, file=answers, flush=True)


class Trainings:
    """Real processes that train, one at a time."""

    def __init__(self, folder):
        self.folder, self.number = folder, 0
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.server = subprocess.Popen([sys.executable, "-c", "import test_run; test_run.serve()"], env=ONE_THREAD, **pipes)
        self.reference = self.new()
        assert self.wait(self.start(self.reference)) == 0, self.output(self.reference)

    def ask(self, **order):
        self.server.stdin.write(json.dumps(order) + "\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())

    def new(self):
        self.number += 1
        return str(self.folder / f"run{self.number}")

    def start(self, folder, call="program", **options):
        return self.ask(call=call, folder=folder, **options)

    def wait(self, pid):
        return self.ask(wait=pid)

    def output(self, folder):
        path = Path(f"{folder}.out")
        return path.read_text() if path.exists() else ""

    def steps(self, folder):
        """How many steps were made in all its processes together."""
        path = Path(f"{folder}.steps")
        return path.stat().st_size if path.exists() else 0

    def assert_same(self, folder):
        assert Path(f"{folder}.end").read_text() == Path(f"{self.reference}.end").read_text()
        assert left_behind(folder) == left_behind(self.reference)


@pytest.fixture(scope="module")
def memory():
    """A folder in memory where there is one: what survives a kill is the same as on a disk, and waiting for a disk is no test."""
    folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="imggen-test-", dir=folder) as name:
        yield Path(name)


@pytest.fixture(scope="module")
def trainings(memory):
    (memory / "runs").mkdir()
    trainings = Trainings(memory / "runs")
    yield trainings
    trainings.server.stdin.close()
    trainings.server.wait(10)


# ------------------------------------------------------------------------------------------------------------ killing and resuming


def test_killed_at_random_moments_it_ends_bit_identical(trainings):
    folder, chance, statuses = trainings.new(), random.Random(7), []
    while 0 not in statuses:
        pid, begun = trainings.start(folder, slow=0.01), trainings.steps(folder)
        if len(statuses) < 7:
            until = begun + chance.randint(2, 9)
            while trainings.steps(folder) < until:
                time.sleep(0.001)
            time.sleep(chance.uniform(0, 0.02))
            os.kill(pid, signal.SIGKILL)
        statuses.append(trainings.wait(pid))
        assert statuses[-1] in (0, signal.SIGKILL), trainings.output(folder)
    assert statuses.count(signal.SIGKILL) >= 4
    assert "goes on after step" in trainings.output(folder)
    trainings.assert_same(folder)


def test_killed_before_any_file_operation_it_ends_bit_identical(trainings):
    """Every place in a save, a rename, a picture, a kept model, one after the other: nothing is lost wherever the kill falls."""
    folder, kills = trainings.new(), 0
    chance = random.Random(3)
    status = None
    while status != 0:  # each process dies before its k-th operation, so that the next one goes on from what that left
        kill_at = chance.choice([9, 21, 34, 48, 63, 79]) + kills
        status = trainings.wait(trainings.start(folder, save_seconds=0.01, kill_at=kill_at))
        assert status in (0, signal.SIGKILL), trainings.output(folder)
        kills += status != 0
    assert kills >= 3
    trainings.assert_same(folder)
    assert not list(Path(folder).rglob(".*")), "temporary files were left behind"


@pytest.mark.parametrize("operation", range(1, 15))
def test_a_kill_inside_a_save_loses_nothing(operation, tmp_path):
    """Whatever operation of a save a process dies at, the two newest states that it leaves are whole."""
    folder = tmp_path / "state"
    for step in (1, 2):
        states.write_state(folder, {"step": step, "w": torch.full((3,), step)})
    pid = os.fork()
    if pid == 0:
        watch_files(str(folder), operation, False)
        states.write_state(folder, {"step": 3, "w": torch.full((3,), 3)})
        os._exit(0)
    died = os.waitpid(pid, 0)[1] == signal.SIGKILL
    found = [states.unpack_state(*states.read_state(path)) for path in sorted(folder.glob("step-*"))[-2:]]
    assert [state["step"] for state in found] == ([1, 2] if operation <= 8 else [2, 3])
    assert [state["w"].tolist() for state in found] == [[state["step"]] * 3 for state in found]
    assert died == (operation <= 12), "a save has another number of file operations: widen the range above"


class Stop(Exception):
    pass


@pytest.mark.parametrize("precision, accumulate, workers", [("no", 1, 0), ("no", 3, 0), ("bf16", 2, 0), ("no", 1, 2)])
def test_interrupted_after_any_step_it_ends_bit_identical(memory, precision, accumulate, workers):
    home = memory / f"{precision}-{accumulate}-{workers}"

    def go(folder, stop_at=None):
        calls = 0

        def watch():
            nonlocal calls
            calls += 1
            if calls == stop_at:
                raise Stop

        run = make_run(home / folder, 0.0 if stop_at else 1e9, accumulate, precision)
        return fingerprint(train(run, epochs=3, steps=4, workers=workers, watch=watch)), calls

    whole, steps = go("whole")
    assert steps == 4 + 3 * 6 + 4
    at = [3, 11, 25] if workers else [1, 2, 4, 5, 9, 10, 16, 17, 22, 23, 25, 26]
    for stop_at in at:
        with pytest.raises(Stop):
            go(f"stopped{stop_at}", stop_at)
        assert go(f"stopped{stop_at}", None)[0] == whole, f"interrupted at step {stop_at}"
        assert left_behind(home / f"stopped{stop_at}") == left_behind(home / "whole")


def test_a_finished_run_trains_no_further_and_gives_the_same(tmp_path, capsys):
    first = fingerprint(train(make_run(tmp_path / "run"), epochs=2))
    before, written = left_behind(tmp_path / "run"), (tmp_path / "run/state").stat().st_mtime_ns
    run = make_run(tmp_path / "run")
    steps = []
    assert fingerprint(train(run, epochs=2, watch=lambda: steps.append(1))) == first
    assert not steps and left_behind(tmp_path / "run") == before
    assert (tmp_path / "run/state").stat().st_mtime_ns == written
    assert "finished at step" in capsys.readouterr().out


def test_rows_written_after_the_saved_step_vanish(tmp_path):
    def go(stop_at=None):
        run = Run("toy", {}, folder=tmp_path, device="cpu", save_seconds=1e9)
        net = nn.Linear(2, 2)
        net, opt = run.prepare(net, torch.optim.SGD(net.parameters(), 0.1))
        for step in run.steps(9):
            run.step(net(torch.rand(1, 2)).sum(), opt)
            run.log(value=step)
            if step == 4:
                run._save()
            if step == stop_at:
                run._flush()
                raise Stop
        return run

    with pytest.raises(Stop):
        go(7)
    assert [row["step"] for row in rows(tmp_path / "history.csv")] == [str(step) for step in range(1, 9)]
    with open(tmp_path / "history.csv", "a") as file:
        file.write("9,0.1")  # a row that was being written when the power went
    run = go()
    assert [row["step"] for row in rows(tmp_path / "history.csv")] == [str(step) for step in range(1, 10)]
    assert run.history["value"] == list(range(9))


@pytest.mark.parametrize("damage, lost", [
    (lambda lines: lines[:-2], "2 of its 8 rows are lost or unreadable (steps 7, 8)"),
    (lambda lines: lines[:3] + lines[4:], "1 of its 8 rows are lost or unreadable (step 3)"),
    (lambda lines: [*lines[:4], "4,0.1,?,3.0\n", *lines[5:]], "(step 4)"),
    (lambda lines: [*lines[:4], "4,0.1\n", "5;0.1;0.1;4.0\n", *lines[6:]], "(steps 4, 5)"),
    (lambda lines: ["\xff\0nothing\n"], "8 of its 8 rows are lost or unreadable (steps 1 to 8)"),
    (lambda lines: None, "8 of its 8 rows"),
], ids=["cut", "a row less", "a word", "another separator", "bytes", "gone"])  # fmt: skip
def test_a_history_cut_or_edited_by_hand_is_said_and_kept(tmp_path, capsys, damage, lost):
    def go(steps):
        run = Run("toy", {}, folder=tmp_path, device="cpu")
        net = nn.Linear(2, 2)
        net, opt = run.prepare(net, torch.optim.SGD(net.parameters(), 0.1))
        for step in run.steps(steps):
            run.step(net(torch.rand(1, 2)).sum(), opt)
            run.log(value=step)
            if step == 7:
                run._save()
                raise Stop
        return run.history

    with pytest.raises(Stop):
        go(12)
    path = tmp_path / "history.csv"
    lines = damage(path.read_text().splitlines(keepends=True))
    path.unlink() if lines is None else path.write_text("".join(lines), encoding="latin-1")
    before = path.read_bytes() if lines else None
    capsys.readouterr()
    history = go(12)
    said = [line for line in capsys.readouterr().out.splitlines() if "history.csv" in line]
    assert len(said) == 1 and lost in said[0]
    kept = tmp_path / "history.csv.bak"
    assert kept.read_bytes() == before and said[0].endswith("the file as it was is history.csv.bak") if lines else not kept.exists()
    assert set(range(9, 13)) <= set(history["step"]) and history["step"] == sorted(history["step"])
    assert [int(row["step"]) for row in rows(path)] == history["step"]
    assert all(value == step - 1 for step, value in zip(history["step"], history["value"], strict=True))


# ------------------------------------------------------------------------------------------------------------------ damaged states


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) * 2 // 3] ^= 1
    path.write_bytes(data)


def empty(path):
    path.write_bytes(b"")


def interrupted(folder):
    """A run that stopped in its epochs, with two states."""
    shutil.rmtree(folder, ignore_errors=True)
    calls = []

    def watch():
        calls.append(1)
        if len(calls) == 25:
            raise Stop

    with pytest.raises(Stop):
        train(make_run(folder), watch=watch)
    return sorted((Path(folder) / "state").glob("step-*"))


@pytest.fixture(scope="module")
def stopped(memory):
    return memory / "stopped", interrupted(memory / "stopped")


@pytest.mark.parametrize("name", ["state.safetensors", "state.json"])
@pytest.mark.parametrize("damage", [cut, flip, empty, Path.unlink])
def test_a_damaged_state_is_named_and_the_one_before_is_used(trainings, stopped, tmp_path, capsys, name, damage):
    folder, (older, newer) = stopped
    folder = shutil.copytree(folder, tmp_path / "run")
    damage(folder / "state" / newer.name / name)
    run = make_run(folder)
    lines = [line for line in capsys.readouterr().out.splitlines() if ": damaged (" in line]
    assert len(lines) == 1 and newer.name in lines[0] and name in lines[0]
    assert run.count == states.unpack_state(*states.read_state(older))["step"]
    assert not (folder / "state" / newer.name).exists()
    if damage is flip:
        assert fingerprint(train(run)) == Path(f"{trainings.reference}.end").read_text()
        assert left_behind(folder) == left_behind(trainings.reference)


def test_with_every_state_damaged_it_begins_again(trainings, stopped, tmp_path, capsys):
    folder = shutil.copytree(stopped[0], tmp_path / "run")
    for path in folder.glob("state/*/state.json"):
        flip(path)
    run = make_run(folder)
    assert capsys.readouterr().out.count(": damaged (") == 2
    assert run.count == 0
    assert fingerprint(train(run)) == Path(f"{trainings.reference}.end").read_text()


def test_a_pickle_in_place_of_a_state_is_never_read(tmp_path, stopped, capsys):
    import pickle

    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "exploded"),))

    folder = shutil.copytree(stopped[0], tmp_path / "run")
    for path in folder.rglob("state/*/*"):
        path.write_bytes(pickle.dumps(Bomb()))
    assert make_run(folder).count == 0
    assert not (tmp_path / "exploded").exists()


def test_resuming_unpickles_nothing(trainings, stopped):
    folder = trainings.new()
    shutil.copytree(stopped[0], folder)
    assert trainings.wait(trainings.start(folder, no_pickle=True)) == 0, trainings.output(folder)
    assert "goes on after step" in trainings.output(folder)
    trainings.assert_same(folder)


def little(run):
    """The training that left `saved_run`."""
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Dropout(0.5), nn.Flatten(), nn.Linear(8, 2))
    images = torch.arange(24.0).view(6, 1, 2, 2) / 24
    data = DataLoader(images, 2, shuffle=True, generator=torch.Generator().manual_seed(4))
    opt = torch.optim.Adam(net.parameters(), 0.01)
    schedule = torch.optim.lr_scheduler.ExponentialLR(opt, 0.9)
    net, opt, data, schedule = run.prepare(net, opt, data, schedule)
    for _ in run.epochs(3):
        for x in run.batches(data):
            run.step((net(x) + torch.rand(2)).square().mean(), opt)
            schedule.step()
        run.log(loss=run.mean_loss, lr=schedule.get_last_lr()[0])
    return net, torch.rand(3)


def test_a_state_saved_by_an_earlier_version_is_gone_on_with(tmp_path):
    """`saved_run` was left, in the middle of its second epoch, by the first version that saved states: its form stays readable."""
    shutil.copytree(HERE.parent / "saved_run", tmp_path / "old")
    given = {"device": "cpu", "precision": "no", "seed": 5, "scale": "laptop", "quiet": True}
    old = Run("toy", {"width": 2}, folder=tmp_path / "old", **given)
    assert old.count == 5
    assert old.history["step"] == [3]
    net, chance = little(old)
    whole = Run("toy", {"width": 2}, folder=tmp_path / "whole", **given)
    wanted, wanted_chance = little(whole)
    assert torch.equal(chance, wanted_chance), "every generator went on where it stood"
    for name, weight in wanted.state_dict().items():
        torch.testing.assert_close(net.state_dict()[name], weight, rtol=1e-5, atol=1e-6)
    for name in ("step", "loss", "lr"):
        assert old.history[name] == pytest.approx(whole.history[name], rel=1e-5)


def test_two_states_are_kept_and_no_more(stopped):
    assert len(stopped[1]) == 2
    assert sorted(path.name for path in stopped[1][0].iterdir()) == ["state.json", "state.safetensors"]


def test_a_state_of_another_program_is_refused_in_one_line(tmp_path):
    def go(width):
        run = Run("toy", {}, folder=tmp_path, device="cpu", save_seconds=0)
        net = nn.Linear(width, width)
        return run.prepare(net, torch.optim.SGD(net.parameters(), 0.1)), run

    (net, opt), run = go(3)
    for _ in run.steps(2):
        run.step(net(torch.rand(1, 3)).sum(), opt)
    with pytest.raises(InputError, match="does not fit Linear .*another folder") as caught:
        go(4)
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------------------------------------------------------- the run's folder


def test_another_chapter_is_refused(tmp_path):
    Run("toy", {"size": 3}, folder=tmp_path, device="cpu")
    with pytest.raises(InputError, match="chapter 'toy' there, 'other' now.* — name another folder"):
        Run("other", {"size": 3}, folder=tmp_path, device="cpu")


def test_other_parameters_are_refused_and_each_is_named(tmp_path):
    Run("toy", {"size": 3, "rate": 0.1, "sizes": (1, 2), "path": Path("a")}, folder=tmp_path, device="cpu")
    Run("toy", {"size": 3, "sizes": [1, 2], "path": "a"}, folder=tmp_path, device="cpu")
    with pytest.raises(InputError) as caught:
        Run("toy", {"size": 4, "rate": 0.2, "sizes": (1, 2)}, folder=tmp_path, device="cpu")
    text = str(caught.value)
    assert "size 3 there, 4 now" in text and "rate 0.1 there, 0.2 now" in text and "sizes" not in text and "\n" not in text
    assert json.loads((tmp_path / "params.json").read_text())["parameters"] == {"size": 3, "rate": 0.1, "sizes": [1, 2], "path": "a"}


def test_another_scale_is_refused(tmp_path):
    Run("toy", {}, folder=tmp_path, device="cpu", scale="smoke")
    with pytest.raises(InputError, match="scale 'smoke' there, 'laptop' now"):
        Run("toy", {}, folder=tmp_path, device="cpu", scale="laptop")


def test_a_folder_of_other_files_is_refused_and_left_as_it_is(tmp_path):
    (tmp_path / "notebook.ipynb").write_text("{}")
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="holds other files, and no run"):
        Run("toy", {}, folder=tmp_path, device="cpu")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notebook.ipynb", "thesis.tex"]
    (tmp_path / "thesis.tex").unlink()
    assert Run("toy", {}, folder=tmp_path, device="cpu").folder == tmp_path, "papermill begins its notebook before the run begins"


def test_the_command_line_claims_a_folder_as_a_run_does(tmp_path):
    claim(tmp_path, "toy", "smoke", {"size": 3, "widths": (1, 2)})
    Run("toy", {"size": 3, "widths": (1, 2), "seed": 0}, folder=tmp_path, scale="smoke", device="cpu")
    assert json.loads((tmp_path / "params.json").read_text())["parameters"] == {"size": 3, "widths": [1, 2], "seed": 0}
    claim(tmp_path, "toy", "smoke", {"size": 3})
    with pytest.raises(InputError, match="seed 0 there, 1 now"):
        claim(tmp_path, "toy", "smoke", {"seed": 1})


# ------------------------------------------------------------------------------------------------------- one writer to a folder


def test_a_folder_has_one_writer_until_that_is_gone(trainings):
    folder = trainings.new()
    pid = trainings.start(folder, slow=0.05)
    while not trainings.steps(folder):
        time.sleep(0.01)
    before = left_behind_so_far(folder)
    with pytest.raises(InputError) as caught:
        make_run(folder)
    told = rf"process {pid} has been at work here for \d s — wait for it, end it \(kill {pid}\), or name another folder \(--out\)"
    assert re.fullmatch(f"{re.escape(folder)}: {told}", str(caught.value))
    with pytest.raises(InputError, match=f"process {pid} has been at work here"):
        claim(folder, "toy", "laptop", {"epochs": 4})
    assert left_behind_so_far(folder) == before
    os.kill(pid, signal.SIGKILL)
    trainings.wait(pid)
    run = make_run(folder)
    os.utime(Path(folder) / "run.lock", (0, 0))
    assert make_run(folder).part("other").folder.parent.parent == run.folder, "a cell that is run again opens it again"
    assert (Path(folder) / "run.lock").stat().st_mtime == 0, "and the age of its lock counts from the first time"


def left_behind_so_far(folder):
    return {path: path.read_bytes() for path in Path(folder).glob("*.*") if path.name in ("params.json", "run.lock", "writer.lock")}


HOLDER = "import sys, time, filelock as f; lock = f.FileLock(sys.argv[1]); lock.acquire(); print(flush=True); time.sleep(int(sys.argv[2]))"


@pytest.mark.parametrize("patience", [0.5, 60.0])
def test_a_writer_whose_command_was_killed_is_waited_for(tmp_path, monkeypatch, patience):
    monkeypatch.setattr(run_module, "DYING", patience)
    command = [sys.executable, "-c", HOLDER, tmp_path / "writer.lock", "600" if patience < 1 else "1"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as dying:
        dying.stdout.readline()
        (tmp_path / "writer.lock").write_text(f"{dying.pid}\n{socket.gethostname()}\n")
        if patience < 1:
            with pytest.raises(InputError, match=rf"process {dying.pid}, whose command was killed, .*kill -9 {dying.pid}"):
                Run("toy", {}, folder=tmp_path, device="cpu")
            dying.kill()
        else:
            Run("toy", {}, folder=tmp_path, device="cpu")


def test_on_a_disk_without_locks_the_owner_decides_or_the_person(tmp_path, monkeypatch):
    def none(*given, **named):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(folders.FileLock, "acquire", none)
    path, here = tmp_path / "run.lock", socket.gethostname()
    path.write_text(f"{os.getppid()}\n{here}\n")
    with pytest.raises(InputError, match=rf"process {os.getppid()} has been at work here for \d s — wait for it"):
        Run("toy", {}, folder=tmp_path, device="cpu")
    path.write_text("123\nelsewhere\n")
    with pytest.raises(InputError) as caught:
        Run("toy", {}, folder=tmp_path, device="cpu")
    assert re.search(r"process 123 of the machine elsewhere has been at work here for \d s; this disk does not tell", str(caught.value))
    assert str(caught.value).endswith(f"if it is gone, delete {path}")
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    path.write_text(f"{ended.pid}\n{here}\n")
    monkeypatch.setattr(run_module, "DYING", 0.5)
    (tmp_path / "writer.lock").write_text("124\nelsewhere\n")  # a worker's there, that was killed with its command
    run = Run("toy", {}, folder=tmp_path, device="cpu")
    assert path.read_text().startswith(f"{os.getpid()}\n{here}\n") and run.folder == tmp_path


def test_a_lock_that_cannot_be_written_gets_one_line(tmp_path):
    (tmp_path / "run.lock").mkdir()
    with pytest.raises(InputError, match="run.lock: cannot be written"):
        Run("toy", {}, folder=tmp_path, device="cpu")


def test_a_part_with_other_parameters_is_refused(tmp_path):
    run = Run("toy", {}, folder=tmp_path, device="cpu")
    run.part("grid", levels=3)
    with pytest.raises(InputError, match="levels 3 there, 4 now"):
        run.part("grid", levels=4)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b'{"chapter": "toy", "scale": "laptop", "parameters": 3}', b"{}"])
def test_a_foreign_params_json_gets_one_line(tmp_path, content):
    (tmp_path / "params.json").write_bytes(content)
    with pytest.raises(InputError, match="params.json: damaged"):
        Run("toy", {"a": 1}, folder=tmp_path, device="cpu")


def test_a_folder_that_is_a_file_gets_one_line(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="file.*cannot be written"):
        Run("toy", {}, folder=tmp_path / "file", device="cpu")


def test_the_folder_comes_from_the_environment_or_is_fresh(tmp_path, monkeypatch):
    monkeypatch.setenv("IMGGEN_RUN_DIR", str(tmp_path / "given"))
    monkeypatch.setenv("IMGGEN_SCALE", "smoke")
    assert Run("toy", device="cpu").folder == tmp_path / "given"
    assert json.loads((tmp_path / "given/params.json").read_text()) == {"chapter": "toy", "scale": "smoke", "parameters": {}}
    monkeypatch.delenv("IMGGEN_RUN_DIR")
    monkeypatch.setattr(settings, "RUNS", tmp_path / "runs")
    folders = [Run("toy", device="cpu").folder for _ in range(3)]
    assert len(set(folders)) == 3 and all(folder.parent == tmp_path / "runs" and folder.name.startswith("toy-2") for folder in folders)


def test_the_first_line_says_device_precision_scale_and_time(tmp_path, capsys):
    Run("wireframe", folder=tmp_path, scale="laptop", device="cpu", precision="float32")
    line = capsys.readouterr().out.splitlines()[0]
    minutes = settings.chapter("wireframe").minutes["laptop"]
    threads = f"{torch.get_num_threads()} thread{'s' if torch.get_num_threads() > 1 else ''}"
    assert line == f"wireframe · laptop scale · cpu, float32, {threads} · about {minutes:g} min · {tmp_path}"
    assert (tmp_path / "log.txt").read_text() == line + "\n"


def test_results_are_merged_and_are_json(tmp_path):
    run = Run("toy", folder=tmp_path, device="cpu")
    (tmp_path / "results.json").write_text("not JSON")
    run.results(psnr_db=torch.tensor(31.5), seconds=math.inf, name="a", size=(3, np.int64(4)))
    run.results(name="b", nested={"x": math.nan})
    found = json.loads((tmp_path / "results.json").read_text(), parse_constant=pytest.fail)
    assert found == {"psnr_db": 31.5, "seconds": None, "name": "b", "size": [3, 4], "nested": {"x": None}}


CARD = "> A toy of width {width}.\n\nTrained {minutes:.0f} minutes on {samples_seen} samples."


def test_finish_leaves_results_and_a_model_with_its_card(tmp_path, monkeypatch):
    monkeypatch.setattr(cards, "TEXTS", tmp_path)
    (tmp_path / "toy.md").write_text(CARD)
    run = Run("toy", folder=tmp_path / "run", device="cpu")
    net = Net(width=3)
    run.finish(net, {"psnr_db": 31.25, "fid": math.nan}, {"psnr_db": (">=", 30)}, torch.rand(4, 3, 6, 6), samples_seen=7, minutes=12)
    found = json.loads((run.path("results.json")).read_text())
    assert found["psnr_db"] == 31.25 and found["fid"] is None and found["seconds"] >= 0 and found["cpu_seconds"] >= 0
    assert torch.equal(Net.from_pretrained(str(run.path("model"))).body[0].weight, net.body[0].weight)
    text = run.path("model/README.md").read_text()
    assert "> A toy of width 3." in text and "Trained 12 minutes on 7 samples." in text
    assert "| psnr_db | 31.25 | >= 30 |" in text and "| fid | – |  |" in text
    assert run.path("model/samples.png").is_file()


def test_finish_counts_the_minutes_of_all_processes(tmp_path, monkeypatch):
    monkeypatch.setattr(cards, "TEXTS", tmp_path)
    (tmp_path / "toy.md").write_text("{minutes}")
    run = Run("toy", folder=tmp_path / "run", device="cpu")
    run._clock, run.processes = Clock(cpu=90, running=False), 4
    run.finish(Net(), {})
    assert run.path("model/README.md").read_text().strip().endswith("6.0")


def test_a_card_that_asks_for_an_unknown_fact_fails_after_the_results_are_written(tmp_path, monkeypatch):
    monkeypatch.setattr(cards, "TEXTS", tmp_path)
    (tmp_path / "toy.md").write_text("{moon}")
    run = Run("toy", folder=tmp_path / "run", device="cpu")
    with pytest.raises(ValueError, match="toy.md.* moon, which nobody gave"):
        run.finish(Net(), {"loss": 0.5})
    assert json.loads(run.path("results.json").read_text())["loss"] == 0.5


def test_a_batch_is_split_evenly_or_refused(tmp_path):
    run = Run("toy", folder=tmp_path, device="cpu")
    assert run.per_process(7) == 7
    run.processes = 3
    assert run.per_process(12) == 4
    with pytest.raises(InputError, match="batch_size=8: cannot be split among 3 processes — give a multiple"):
        run.per_process(8)
    with pytest.raises(InputError, match="batch_size=8"):
        run.prepare(DataLoader(torch.rand(16, 2), 8))


# --------------------------------------------------------------------------------------------------------------------- a full disk


def fill(run, net, opt):
    for step in run.steps(50):
        run.step(net(torch.rand(1, 64)).sum(), opt)
        run.log(value=step)


def wide_run(folder):
    run = Run("toy", {}, folder=folder, device="cpu", save_seconds=0)
    net = nn.Linear(64, 256)
    return run, *run.prepare(net, torch.optim.Adam(net.parameters()))


@pytest.mark.parametrize("call", ["fsync", "replace", "mkdir"])
def test_a_full_disk_gives_one_line_and_keeps_the_last_good_state(tmp_path, monkeypatch, call):
    run, net, opt = wide_run(tmp_path)
    real, count = getattr(os, call), 0

    def full(*args, **kwargs):
        nonlocal count
        count += 1
        if count > 7:
            raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path / "x"))
        return real(*args, **kwargs)

    with monkeypatch.context() as patched:
        patched.setattr(os, call, full)
        with pytest.raises(InputError, match="the disk is full — free some space and run the same again") as caught:
            fill(run, net, opt)
    assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)
    again, net, opt = wide_run(tmp_path)
    assert again.count > 0
    assert not list((tmp_path / "state").glob(".*"))
    fill(again, net, opt)
    assert again.history["value"] == list(range(50))


@pytest.fixture
def small_disk(tmp_path):
    folder = tmp_path / "disk"
    folder.mkdir()
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=800k", "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_a_disk_that_is_really_full(small_disk, capfd):
    run, net, opt = wide_run(small_disk / "run")
    ballast = small_disk / "ballast"
    with pytest.raises(InputError, match="the disk is full"):
        for step in run.steps(50):
            run.step(net(torch.rand(1, 64)).sum(), opt)
            run.log(value=step)
            if step == 20:
                with pytest.raises(OSError, match="No space"), open(ballast, "wb", buffering=0) as file:
                    while True:
                        file.write(bytes(4096))
    ballast.unlink()
    again, net, opt = wide_run(small_disk / "run")
    assert again.count >= 20
    fill(again, net, opt)
    assert again.history["value"] == list(range(50))
    assert "Traceback" not in capfd.readouterr().err


def test_a_disk_that_gets_full_in_a_notebook_gets_the_same_line(small_disk, tmp_path):
    source = notebook(tmp_path / "n.ipynb", "print('x' * 2_000_000)")
    said = []
    with pytest.raises(InputError, match="^/.*/run: the disk is full — free some space and run the same again, it goes on from"):
        run_notebook(source, small_disk / "run", timeout=60, echo=said.append)
    assert not said, "it is not tried a second time"


# ---------------------------------------------------------------------------------------------------------------- several processes


def worker(folder, ends, kill_at=0):
    """One of several processes: trains, leaves its weights in `ends`, and fails if it opens or writes in `folder` without being the first.

    The others know no folder, as on machines that share no disk.
    """
    rank, calls = int(os.environ["RANK"]), 0

    def hook(event, args):
        if rank and event in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir") and str(args[0]).startswith(folder + "/"):
            print("rank", rank, event, args, flush=True)
            os._exit(78)

    sys.addaudithook(hook)
    run = Run("toy", {}, folder=None if rank else folder, device="cpu", precision="no", save_seconds=0, accumulate=2, clip=1.0)
    net, loader = Net(), DataLoader(Noisy(32), 4, shuffle=True)
    opt = torch.optim.Adam(net.parameters(), 0.01)
    net, opt, loader = run.prepare(net, opt, loader)
    for _ in run.epochs(6):
        for image in run.batches(loader):
            assert len(image) == 2, "a batch of 4 is split among 2 processes"
            run.step((net(image + 0.1 * torch.randn(image.shape)) - image).square().mean(), opt)
            calls += 1
            if calls == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
        run.log(loss=run.mean_loss)
    run.keep(net)
    assert len(run.history["loss"]) == 6, "every process knows the rows before the kill"
    (Path(ends) / f"rank{rank}").write_text(fingerprint({"net": run.unwrap(net).state_dict(), "opt": opt.state_dict()}))
    (Path(ends) / f"noise{rank}").write_text(fingerprint(torch.rand(3)))


def in_two(trainings, folder, call, **options):
    """Statuses of `call` in two processes, forked with the environment that torchrun gives, which is slow."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {"WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ranks = [trainings.start(folder, call, env={**shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}, **options) for rank in (0, 1)]
    return [trainings.wait(pid) for pid in ranks]


def test_two_processes_end_with_equal_weights_also_after_a_kill(tmp_path, trainings):
    for name in ("whole", "killed"):
        (tmp_path / f"{name}.ends").mkdir()
    for name, kill_at in (("whole", 0), ("killed", 40), ("killed", 0)):
        folder = str(tmp_path / name)
        statuses = in_two(trainings, folder, "worker", ends=f"{folder}.ends", kill_at=kill_at)
        assert statuses == [signal.SIGKILL if kill_at else 0] * 2, trainings.output(folder)
    assert trainings.output(str(tmp_path / "whole")).count("laptop scale") == 1, "only one process prints"
    assert trainings.output(folder).count("goes on after step 32") == 1

    ends = {(tmp_path / f"{name}.ends/rank{rank}").read_text() for name in ("whole", "killed") for rank in (0, 1)}
    assert len(ends) == 1
    noises = [(tmp_path / f"{name}.ends/noise{rank}").read_text() for name in ("whole", "killed") for rank in (0, 1)]
    assert noises[:2] == noises[2:] and noises[0] != noises[1], "each process has noise of its own"
    assert rows(tmp_path / "whole/history.csv") == rows(tmp_path / "killed/history.csv")
    assert len(rows(tmp_path / "whole/history.csv")) == 6


def unlike(folder):
    """One of two processes that were given different parameters: leaves what it is told."""
    rank = int(os.environ["RANK"])
    try:
        Run("toy", {"lr": 0.1 * rank, "steps": 3, f"of {rank}": 1}, folder=folder, device="cpu", precision="no")
    except InputError as error:
        Path(f"{folder}-rank{rank}").write_text(str(error))


def test_processes_that_were_not_started_alike_all_say_what_differs(tmp_path, trainings):
    in_two(trainings, str(tmp_path / "run"), "unlike")
    said = [(tmp_path / f"run-rank{rank}").read_text() for rank in (0, 1)]
    assert said == ["lr, of 0, of 1: not the same in all processes — give every machine the same command"] * 2


PARENT = """
import os, subprocess, sys, time
child = "import os, sys; " + sys.argv[1] + "; from imggen_core.kit import processes; processes.end_with(int(sys.argv[1])); "
child += "print(os.getpid(), flush=True); "
child += "\\nwhile True: pass"
subprocess.Popen([sys.executable, "-c", child, str(os.getpid())])
time.sleep(600)
"""


@pytest.mark.parametrize("without", ["pass", "del os.pidfd_open"], ids=["told by the system", "asking"])
def test_a_process_ends_with_the_one_that_started_it(without):
    if without != "pass" and not hasattr(os, "pidfd_open"):
        pytest.skip("this system does not tell")
    command = [sys.executable, "-c", PARENT, without]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ONE_THREAD, cwd=HERE.parents[1]) as parent:
        child = psutil.Process(int(parent.stdout.readline()))
        os.kill(parent.pid, signal.SIGKILL)  # not asked after, so that it stays as a zombie
        for _ in range(200):
            if not child.is_running() or child.status() == psutil.STATUS_ZOMBIE:
                return
            time.sleep(0.05)
        child.kill()
        raise AssertionError("it lives on")


def test_under_a_torchrun_typed_by_hand_a_run_ends_with_it(tmp_path, monkeypatch):
    parents = []
    monkeypatch.setattr(processes, "end_with", parents.append)
    Run("toy", {}, folder=tmp_path, device="cpu")
    assert not parents
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    Run("toy", {}, folder=tmp_path, device="cpu")
    assert parents == [os.getppid()]


# --------------------------------------------------------------------------------------------------------------- the training loop


def test_several_runs_of_different_precision_live_in_one_process(tmp_path):
    runs = {name: Run("toy", folder=tmp_path / name, device="cpu", precision=name) for name in ("no", "bf16")}
    seen, nets = {}, {}

    def note(name):
        def hook(module, args, out):
            seen[name] = out.dtype

        return hook

    for name, run in runs.items():
        net = Net()
        nets[name] = run.prepare(net, torch.optim.SGD(net.parameters(), 0.1))
        nets[name][0].body[0].register_forward_hook(note(name))
    more = {name: run.prepare(nn.Linear(2, 2)) for name, run in runs.items()}  # the first run's turn comes again
    more["no"].register_forward_hook(note("again"))
    for name, run in runs.items():
        net, opt = nets[name]
        for _ in run.steps(2):
            loss = (net(torch.rand(2, 3, 6, 6)) - 0.5).square().mean()
            assert loss.dtype == torch.float32
            run.step(loss, opt)
    more["no"](torch.rand(1, 2))
    assert seen == {"no": torch.float32, "bf16": torch.bfloat16, "again": torch.float32}
    assert runs["no"].part("inner", precision="bf16").precision == "bf16"


def test_accumulated_steps_equal_one_step_on_the_whole_batch(tmp_path):
    data, moved, ends = torch.rand(8, 5), [], []
    for accumulate in (1, 4):
        run = Run("toy", folder=tmp_path / str(accumulate), device="cpu", accumulate=accumulate, clip=0.01)
        net = nn.Linear(5, 5, dtype=torch.float64)
        net, opt = run.prepare(net, torch.optim.SGD(net.parameters(), 0.1))
        for _ in run.steps(1):
            moved += [run.step(net(part.double()).square().mean(), opt) for part in data.chunk(accumulate)]
        ends.append(torch.cat([p.detach().flatten() for p in net.parameters()]))
    assert moved == [True, False, False, False, True]
    torch.testing.assert_close(*ends, rtol=0, atol=1e-12)


def test_a_prepared_scheduler_moves_when_its_own_optimiser_does(tmp_path):
    run = Run("toy", folder=tmp_path, device="cpu", precision="no", accumulate=3)
    nets = nn.Linear(2, 2), nn.Linear(2, 2)
    opts = [torch.optim.SGD(net.parameters(), 1.0) for net in nets]
    schedules = [torch.optim.lr_scheduler.ExponentialLR(opt, 0.5) for opt in opts]
    *opts, first, second = run.prepare(*opts, *schedules)
    rates = []
    for step in run.steps(6):
        run.step(nets[0](torch.ones(1, 2)).sum(), opts[0])
        first.step()
        if step % 2 == 0:
            run.step(nets[1](torch.ones(1, 2)).sum(), opts[1])
            second.step()
        rates.append((first.get_last_lr()[0], second.get_last_lr()[0]))
    assert rates == [(1, 1), (1, 1), (0.5, 1), (0.5, 1), (0.5, 0.5), (0.25, 0.5)]


def test_gradients_of_a_begun_accumulation_end_with_the_loop(tmp_path):
    run = Run("toy", folder=tmp_path, device="cpu", precision="no", accumulate=2)
    net = nn.Linear(2, 2)
    net, opt = run.prepare(net, torch.optim.SGD(net.parameters(), 1.0))
    for _ in run.steps(3):
        run.step(net(torch.ones(1, 2)).sum(), opt)
    assert all(p.grad is None for p in net.parameters())


def test_two_optimisers_do_not_disturb_each_other(tmp_path):
    """In a GAN the generator's loss goes through the critic: that must leave no gradient there."""
    run = Run("toy", folder=tmp_path, device="cpu", precision="no")
    generator, critic = nn.Linear(2, 2), nn.Linear(2, 1)
    opts = torch.optim.SGD(generator.parameters(), 0.1), torch.optim.SGD(critic.parameters(), 0.1)
    generator, critic, opt_g, opt_c = run.prepare(generator, critic, *opts)
    for _ in run.steps(2):
        run.step(critic(generator(torch.ones(1, 2))).sum(), opt_g)
        assert all(p.grad is None for p in [*critic.parameters(), *generator.parameters()])
        run.step(critic(generator(torch.ones(1, 2)).detach()).sum(), opt_c)


def test_convolutions_become_channels_last_and_stay_so_when_resumed(tmp_path):
    def go():
        run = Run("toy", {}, folder=tmp_path, device="cpu", precision="no", save_seconds=0)
        net = nn.Conv2d(4, 8, 3)
        net, opt = run.prepare(net, torch.optim.Adam(net.parameters()))
        return run, net, opt

    run, net, opt = go()
    for _ in run.steps(1):
        run.step(net(torch.rand(1, 4, 5, 5)).sum(), opt)
    run, again, opt2 = go()
    for n, o in ((net, opt), (again, opt2)):
        assert n.weight.is_contiguous(memory_format=torch.channels_last) and not n.weight.is_contiguous()
        assert o.state[n.weight]["exp_avg"].stride() == n.weight.stride()


@pytest.mark.parametrize("breaks", [False, True])
def test_stop_ends_the_loop_for_good(tmp_path, breaks):
    def go():
        run = Run("toy", {}, folder=tmp_path, device="cpu")
        net = nn.Linear(2, 2)
        run.prepare(net, torch.optim.SGD(net.parameters(), 0.1))
        done = []
        for step in run.steps(100):
            done.append(step)
            if step == 3:
                run.stop()
                if breaks:
                    break
        return done

    assert go() == [0, 1, 2, 3]
    assert go() == []


def test_a_run_without_anything_to_save_starts_over(tmp_path):
    for _ in range(2):
        run = Run("toy", {}, folder=tmp_path, device="cpu", save_seconds=0)
        for step in run.epochs(3):
            run.log(value=step)
        assert run.history["step"] == [1, 2, 3] and len(rows(tmp_path / "history.csv")) == 3
    assert not (tmp_path / "state").exists()


def test_history_keeps_columns_that_come_later(tmp_path):
    run = Run("toy", {}, folder=tmp_path, device="cpu")
    run.log(a=1)
    run.log(a=torch.tensor(2.5), b=np.float32(0.25))
    run.log(b=math.nan)
    found = rows(tmp_path / "history.csv")
    assert list(found[0]) == ["step", "a", "b"]
    assert found == [{"step": "0", "a": "1", "b": ""}, {"step": "0", "a": "2.5", "b": "0.25"}, {"step": "0", "a": "", "b": "nan"}]
    assert run.history["a"][:2] == [1, 2.5] and math.isnan(run.history["a"][2])
    with pytest.raises(TypeError, match="name is a str"):
        run.log(name="text")


def test_tensorboard_shows_the_history(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run = Run("toy", {}, folder=tmp_path, device="cpu")
    for step in run.epochs(3):
        run.log(loss=step / 2)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload().Scalars("loss")
    assert [(event.step, event.value) for event in events] == [(1, 0.0), (2, 0.5), (3, 1.0)]


def test_keep_best_keeps_the_best(tmp_path):
    run = Run("toy", {}, folder=tmp_path, device="cpu")
    net, kept = Net(), []
    for i in run.epochs(6):
        nn.init.constant_(net.body[0].bias, i)
        run.log(score=[math.nan, 1.0, 3.0, 2.0, 3.0, 4.0][i])
        kept.append(run.keep_best(net, "score"))
    assert kept == [False, True, True, False, False, True]
    assert Net.from_pretrained(str(tmp_path / "model")).body[0].bias.tolist() == [5.0] * 4
    assert "the best by score: 4 at step 6" in zoo.about(tmp_path / "model")


def test_pictures_of_every_kind(tmp_path):
    from matplotlib.figure import Figure
    from PIL import Image

    run = Run("toy", {}, folder=tmp_path, device="cpu")
    image = torch.rand(3, 4, 7)
    run.picture(image)
    run.picture(image.permute(1, 2, 0).numpy(), "b")
    run.picture(Image.new("RGB", (7, 4)), "c")
    run.picture(Figure(figsize=(1, 1)), "d")
    assert [path.name for path in run.pictures()] == ["000000.png", "b.png", "c.png", "d.png"]
    found = [np.asarray(Image.open(path).convert("RGB")) for path in run.pictures()]
    assert found[0].shape == (4, 7, 3) and (found[0] == found[1]).all()
    assert (found[0] == (image.permute(1, 2, 0).numpy() * 255).round()).all()


def test_prepare_says_what_it_cannot_save(tmp_path):
    run = Run("toy", {}, folder=tmp_path, device="cpu")
    with pytest.raises(TypeError, match="Tensor has no state_dict"):
        run.prepare(torch.rand(3))
    strange = Average(Net())
    strange.values = {"thing": {"deep": [1, object()]}}
    run.prepare(strange)
    with pytest.raises(TypeError, match=r"state\.10\.objects.*a object cannot be saved"):
        for _ in run.steps(1):
            pass


def test_the_clock_leaves_out_what_the_run_itself_does(tmp_path):
    run = Run("toy", {}, folder=tmp_path, device="cpu")
    run.prepare(nn.Linear(2, 2))
    for _ in run.steps(1):
        before = run.seconds
        time.sleep(0.05)
        for _ in range(20):
            run.picture(torch.rand(3, 64, 64), "x")
            run.log(a=1)
    assert 0.05 <= run.seconds - before < 0.1
    after = run.seconds, run.cpu_seconds
    time.sleep(0.02)
    assert (run.seconds, run.cpu_seconds) == after, "it stands still once the loop is over"


def test_a_step_costs_well_under_a_millisecond(tmp_path):
    run = Run("toy", {}, folder=tmp_path, device="cpu", precision="no")
    net = nn.Linear(2, 2)
    net, opt = run.prepare(net, torch.optim.SGD(net.parameters(), 0.1))
    x, n = torch.rand(1, 2), 500

    def bare():
        for _ in range(n):
            net(x).sum().backward()
            opt.step()
            opt.zero_grad()

    def ours():
        for _ in run.steps(n):
            run.step(net(x).sum(), opt)
            run.log(value=1.0)

    times = {}
    for loop in (bare, ours, bare, ours):
        begun = time.process_time()
        loop()
        times[loop] = min(times.get(loop, math.inf), time.process_time() - begun)
    assert (times[ours] - times[bare]) / n < 1e-3


def test_importing_the_kit_is_light():
    code = (
        "import sys\n"
        "from imggen_core.kit import {}\n"
        "print(*[name for name in ('torch', 'accelerate', 'tensorboard', 'matplotlib', 'PIL') if name in sys.modules])\n"
    )
    program = code.format("settings, sampler, zoo") + code.format("run")
    done = subprocess.run([sys.executable, "-c", program], env=ONE_THREAD, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["", "torch"]


def test_states_of_every_shape_come_back_exactly(tmp_path):
    shared = torch.arange(6.0)
    state = {
        "step": 3, "none": None, "bits": [True, 1, 1.5, math.inf, "text"], "pair": (1, [2, (3,)]), 7: {"nested": {}}, ("a", 1): "tuple key",
        "bf16": torch.rand(3).bfloat16(), "scalar": torch.tensor(2.0), "empty": torch.empty(0, 3), "long": torch.tensor([2**60]),
        "views": [shared[:3], shared[3:], shared, shared.view(2, 3).T, shared[:1].expand(4)], "array": np.arange(3, dtype=np.int16),
        "last": torch.rand(2, 3, 4, 5).contiguous(memory_format=torch.channels_last), "number": np.float64(0.1), "int": np.int64(5),
    }  # fmt: skip
    back = states.unpack_state(*states.read_state(states.write_state(tmp_path, state)))
    assert fingerprint(back) == fingerprint(state)
    assert list(back) == list(state) and back["last"].stride() == state["last"].stride()
    assert type(back["pair"]) is tuple and back["array"].dtype == np.int16
