"""Kill every chapter's training at random moments, go on until it ends, and compare with one that nobody killed: `make torture`.

    python tests/torture.py [--kills 1000] [--seed N] [--only CHAPTER ...] [--ways WAY ...] [--folder runs/torture]

Smoke scale. Four ways, told apart in the count: `forked` (one process; forked from a server that has PyTorch in memory, which makes an
attempt cheap), `forked-2` (two processes share the training), and the commands themselves as a person types them, `train` (in one
process or two) and `run`, whose command, worker or kernel is killed. A third of the forked ones die inside a save or inside the swap of
model/, before a file operation that is drawn at random; the others whenever the clock says. What must be the same at the end: weights,
histories, pictures, results and the last saved state, without what a clock wrote. Counts are kept in FOLDER/counts.json: started again,
it goes on. What differs stays in FOLDER/different/, with its log.
"""

import argparse
import csv
import json
import mmap
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
from trainings import SERVER, import_chapter

from imggen_core.kit import files, notebooks, processes, run, settings, zoo
from imggen_core.kit import parameters as kinds

os.environ |= {"OMP_NUM_THREADS": "1", "IMGGEN_HEADLESS": "1", "PYTHONPATH": str(settings.ROOT)}  # of the processes that are killed
PHASES = STARTING, TRAINING, SAVING, KEEPING, SWAPPING = range(5)
SHARED = ("population", "unet", "wnet", "abstractor", "metrics", "ddpm", "designer")
SERVER.set_forkserver_preload(["torch._dynamo", "torch.utils.tensorboard", "accelerate", "skimage.metrics",
                               *(f"imggen_core.{name}" for name, chapter in settings.chapters().items() if chapter.ready)])  # fmt: skip


# ---- one attempt, in a process that dies -----------------------------------------------------------------------------


def attempt(caller: int, chapter: str, folder: Path, parameters: dict, given: dict, aim: tuple | None, rank: int, port: int) -> None:
    """The chapter's training; says in the first byte of FOLDER.phase what it does, and dies as `aim` says: (a phase, an operation)."""
    log = open(f"{folder}.out", "a")
    os.dup2(log.fileno(), 1), os.dup2(log.fileno(), 2)
    import torch

    processes.end_with(caller)
    torch.set_num_threads(1)
    if port:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2",
                       "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}  # fmt: skip
    if not rank:
        watch(Path(f"{folder}.phase"), aim)
    training = run.Run(chapter, parameters, folder=folder, scale="smoke", device="cpu", **given)
    module = import_chapter(chapter)
    if chapter == "designer":  # a figure that is a time
        module.seconds_per_picture = lambda model: 0.1
    module.train(training, **parameters)
    if port:
        torch.distributed.destroy_process_group()


def watch(path: Path, aim: tuple[int, int] | None) -> None:
    with open(path, "r+b") as file:
        phase = mmap.mmap(file.fileno(), 1)
    left = [aim[1] if aim else 0]

    def during(function, number: int, within: int | None = None):
        def call(*given, **named):
            before = phase[0]
            if within is None or before == within:
                phase[0] = number
            try:
                return function(*given, **named)
            finally:
                phase[0] = before

        return call

    def hook(event, arguments):
        if aim and phase[0] == aim[0] and event in ("open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.rmtree"):
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    def begin(self, *given, begin=run.Run._begin, **named):
        phase[0] = TRAINING
        return begin(self, *given, **named)

    run.Run._begin = begin
    run.write_state = during(run.write_state, SAVING)
    zoo.save = during(zoo.save, KEEPING)
    files.replace_folder = during(files.replace_folder, SWAPPING, within=KEEPING)
    sys.addaudithook(hook)


# ---- what a run leaves -----------------------------------------------------------------------------------------------


def left(folder: Path) -> dict:
    """Everything that must not depend on kills, by name."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.name[0] == ".":
            found[name] = "left behind"
        elif path.name == "history.csv":
            with path.open(newline="") as file:
                found[name] = [{key: value for key, value in row.items() if "seconds" not in key} for row in csv.DictReader(file)]
        elif path.name == "results.json":
            found[name] = timeless(json.loads(path.read_text()))
        elif path.name == "state" and path.is_dir():
            header = json.loads((sorted(path.glob("step-*"))[-1] / "state.json").read_text())
            found[name] = header["sha256"], [pair for pair in header["state"]["dict"] if pair[0] != "clock"]
        elif path.suffix in (".png", ".safetensors", ".svg", ".json") and "state" not in path.parts:
            found[name] = path.read_bytes()
    return found


def timeless(value):
    if isinstance(value, dict):
        return {key: timeless(item) for key, item in value.items() if "seconds" not in key and "minutes" not in key}
    return [timeless(item) for item in value] if isinstance(value, list) else value


def progress_of(folder: Path) -> set[str]:
    return {str(path) for path in folder.rglob("step-*")}


# ---- attempts, one after the other -----------------------------------------------------------------------------------


class Torture:
    def __init__(self, folder: Path, seed: int, kills: int, only: list[str], ways: list[str]):
        self.folder, self.wanted, self.ways, self.file = folder, kills, ways, folder / "counts.json"
        self.counts = {"seed": seed, "rounds": 0, "kills": {}, "during": {}, "ends": {}, "identical": {}, "different": [], "orphans": 0}
        if self.file.exists():
            self.counts = json.loads(self.file.read_text())
        self.chapters = only or [name for name, chapter in settings.chapters().items() if chapter.ready and self.schema(name)]
        self.seconds = {}
        (folder / "different").mkdir(parents=True, exist_ok=True)

    @staticmethod
    def schema(chapter: str) -> dict:
        return kinds.of(train) if (train := getattr(import_chapter(chapter), "train", None)) else {}

    def parameters(self, chapter: str) -> dict:
        schema = self.schema(chapter)
        defaults = {name: value for name, value in notebooks.parameters_of(settings.chapter(chapter).notebook).items() if name in schema}
        return defaults | {name: value for name, value in settings.scale_parameters(chapter, "smoke").items() if name in schema}

    @property
    def kills(self) -> int:
        return sum(sum(each.values()) for each in self.counts["kills"].values())

    def count(self, what: str, *keys: str) -> None:
        place = self.counts[what]
        for key in keys[:-1]:
            place = place.setdefault(key, {})
        place[keys[-1]] = place.get(keys[-1], 0) + 1
        self.save()

    def save(self) -> None:
        files.write(self.file, json.dumps(self.counts, indent=1))

    def go(self) -> None:
        """Rounds until there are enough kills, and every chapter has ended at least once in each way."""
        while True:
            cycle, at = divmod(self.counts["rounds"], len(self.chapters))
            chapter = self.chapters[at]
            chance = random.Random(f"{self.counts['seed']} {self.counts['rounds']}")
            ways = ["forked", "forked", "forked-2"] if chapter in SHARED else ["forked", "forked"]
            if cycle % 2 == 0:  # a command needs ten times as long as a fork
                ways.append(["run", "train-2" if chapter in SHARED else "train", "run", "train"][cycle // 2 % 4])
            for way in ways:
                if not self.ways or way in self.ways:
                    self.round(chapter, way, chance)
            self.counts["rounds"] += 1
            self.save()
            print(self.summary(), flush=True)
            if self.kills >= self.wanted and self.counts["rounds"] >= 3 * len(self.chapters):
                return

    def round(self, chapter: str, way: str, chance: random.Random) -> None:
        reference = self.reference(chapter, way)
        folder = self.folder / "now" / f"{chapter}-{way}"
        shutil.rmtree(folder.parent, ignore_errors=True)
        folder.parent.mkdir(parents=True)
        patience = base = self.seconds[chapter, way] / (8 if way.startswith("forked") else 1.5)
        kills, ended, before = 0, False, set()
        while not ended:
            enough = kills >= (40 if way.startswith("forked") else 5)
            ended = getattr(self, "command" if way in ("run", "train", "train-2") else "fork")(
                chapter, way, folder, None if enough else patience, chance)  # fmt: skip
            kills += not ended
            now = progress_of(folder)
            patience = min(2 * patience, 4 * self.seconds[chapter, way]) if now == before else max(base / 2, 0.8 * patience)
            before = now
        ends, there = left(folder), left(reference)
        self.count("ends", way, chapter)
        if different := sorted(name for name in ends.keys() | there.keys() if ends.get(name) != there.get(name)):
            kept = self.folder / "different" / f"{self.counts['rounds']}-{chapter}-{way}"
            shutil.rmtree(kept, ignore_errors=True)
            shutil.copytree(folder.parent, kept)
            self.counts["different"].append(f"{kept.name}: {', '.join(different)}")
            self.save()
            print(f"DIFFERENT after {kills} kills: {kept}: {', '.join(different)}", flush=True)
        else:
            self.count("identical", way, chapter)

    def reference(self, chapter: str, way: str) -> Path:
        """The same training, undisturbed, once; how long it takes is noted."""
        folder = self.folder / "reference" / f"{chapter}-{way}"
        done = folder.with_suffix(".seconds")
        if not done.exists():
            folder.parent.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(folder, ignore_errors=True)
            begun = time.monotonic()
            function = self.command if way in ("run", "train", "train-2") else self.fork
            assert function(chapter, way, folder, None, random.Random(0)), f"{folder}: ended with an error, see {folder}.out"
            done.write_text(str(time.monotonic() - begun))
        self.seconds[chapter, way] = float(done.read_text())
        return folder

    # ---- forked ----

    def fork(self, chapter: str, way: str, folder: Path, patience: float | None, chance: random.Random) -> bool:
        """One attempt; True if it ended by itself. patience: kill it within so many seconds; None: let it end."""
        phase = Path(f"{folder}.phase")
        phase.write_bytes(b"\0")
        aim = None
        if patience and chance.random() < 0.35:
            aim = chance.choice([(SAVING, chance.randint(1, 40)), (SAVING, chance.randint(1, 12)), (SWAPPING, chance.randint(1, 8))])
        given = {"save_seconds": 2.0 if not patience else 0.0 if aim else chance.choice([0.0, 0.1, 0.5, 2.0]), "quiet": True}
        ranks = [0, 1] if way == "forked-2" else [0]
        port = free_port() if len(ranks) > 1 else 0
        todo = os.getpid(), chapter, folder, self.parameters(chapter), given, aim
        children = [SERVER.Process(target=attempt, args=(*todo, rank, port)) for rank in ranks]
        for child in children:
            child.start()
        if patience:
            if chance.random() < 0.8:  # else it may die before it trains, too
                while phase.read_bytes() == b"\0" and all(child.is_alive() for child in children):
                    time.sleep(0.01)
            end = time.monotonic() + (2 * patience if aim else chance.uniform(0, patience))
            while time.monotonic() < end and any(child.is_alive() for child in children):
                time.sleep(0.002)
            victim = chance.choice(children)
            if victim.is_alive():
                os.kill(victim.pid, signal.SIGKILL)
        elif len(ranks) > 1:  # until one ends
            while all(child.is_alive() for child in children):
                time.sleep(0.01)
        killed = None
        for child in children:  # who has lost another process ends by itself
            child.join(30 if len(ranks) > 1 and patience else 600)
            if child.is_alive():
                child.kill()
                child.join()
        codes = [child.exitcode for child in children]
        killed = -signal.SIGKILL in codes
        if killed and patience:
            self.count("kills", way, chapter)
            self.count("during", ["start", "training", "save", "keep", "swap"][phase.read_bytes()[0]])
            return False
        assert codes == [0] * len(codes), f"{chapter}: ended with {codes}, see {folder}.out"
        return True

    # ---- commands ----

    def command(self, chapter: str, way: str, folder: Path, patience: float | None, chance: random.Random) -> bool:
        words = [sys.executable, "-m", "imggen_core.cli", way.partition("-")[0], chapter, "--scale", "smoke", "--out", str(folder)]
        words += ["--processes", "2"] if way == "train-2" else []
        with open(f"{folder}.out", "a") as log:
            print("$", *words[2:], file=log, flush=True)
            process = subprocess.Popen(words, stdout=log, stderr=log, cwd=settings.ROOT)
        end = time.monotonic() + chance.uniform(0, patience or 1e9)
        while process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        if process.poll() is not None:
            assert process.returncode == 0, f"{chapter}: ended with {process.returncode}, see {folder}.out"
            return True
        below = psutil.Process(process.pid).children(recursive=True)
        victim = chance.choice([psutil.Process(process.pid)] * 3 + below)
        own = victim.pid == process.pid
        try:
            victim.kill()
        except psutil.NoSuchProcess:
            process.kill()
        self.count("kills", way, chapter)
        self.count("during", "command killed" if own else "worker or kernel killed")
        process.wait(600)
        if own:
            self.orphans(below)
        elif process.returncode == 0:  # a kernel that dies is tried once more
            return True
        return False

    def orphans(self, below: list[psutil.Process]) -> None:
        _, alive = psutil.wait_procs(below, timeout=10)
        if alive := [each for each in alive if each.is_running() and each.status() != psutil.STATUS_ZOMBIE]:
            self.counts["orphans"] += len(alive)
            print("ORPHANS", alive, flush=True)

    def summary(self) -> str:
        kills = {way: sum(each.values()) for way, each in self.counts["kills"].items()}
        ends = sum(sum(each.values()) for each in self.counts["ends"].values())
        same = sum(sum(each.values()) for each in self.counts["identical"].values())
        return (f"seed {self.counts['seed']} · {self.kills:,} kills ({', '.join(f'{way} {n}' for way, n in kills.items())}) · "
                f"{', '.join(f'{n} in: {what}' for what, n in self.counts['during'].items())} · "
                f"{same} of {ends} ends identical · {self.counts['orphans']} orphans")  # fmt: skip


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    given.add_argument("--kills", type=int, default=1000)
    given.add_argument("--seed", type=int, default=int(time.strftime("%Y%m%d")))
    given.add_argument("--only", nargs="*", default=[])
    given.add_argument("--ways", nargs="*", default=[])
    given.add_argument("--folder", type=Path, default=settings.RUNS / "torture")
    options = given.parse_args()
    torture = Torture(options.folder.absolute(), options.seed, options.kills, options.only, options.ways)
    print(f"seed {torture.counts['seed']}, {torture.kills} kills so far; chapters: {', '.join(torture.chapters)}", flush=True)
    torture.go()
    print("\n".join([torture.summary(), *torture.counts["different"]]))
    sys.exit(bool(torture.counts["different"] or torture.counts["orphans"]))
