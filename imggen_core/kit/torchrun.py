"""`imggen train`: torchrun starts a training's processes, on one machine or on several, and everything that it started ends with it."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .notebooks import AGAIN, RunFailed, first_line
from .processes import MARK, kill_marked, new_mark
from .settings import InputError, thread_environment

AGENT = "import imggen_core; from torch.distributed.run import main; main()"  # torchrun, which ends with the process that starts it


@dataclass(frozen=True)
class Machines:
    """`processes` on each of `nodes` machines; this one is number `node_rank` of them, and they meet at `rendezvous` (HOST:PORT).

    HOST is the machine number 0. InputError for options that do not fit together.
    """

    processes: int = 1
    nodes: int = 1
    node_rank: int | None = None
    rendezvous: str | None = None

    def __post_init__(self):
        if self.processes < 1:
            raise InputError(f"--processes {self.processes}: wants a whole number of at least 1")
        if self.nodes < 1:
            raise InputError(f"--nodes {self.nodes}: wants a whole number of at least 1")
        if self.nodes == 1:
            for name, value in (("--node-rank", self.node_rank), ("--rendezvous", self.rendezvous)):
                if value is not None:
                    raise InputError(f"{name} {value}: is for several machines — say how many there are with --nodes")
            return
        if self.node_rank is None:
            raise InputError(f"--nodes {self.nodes}: which of them is this? — --node-rank 0 on the first, 1 on the next, and so on")
        if not 0 <= self.node_rank < self.nodes:
            raise InputError(f"--node-rank {self.node_rank}: of {self.nodes} machines the first is 0 and the last {self.nodes - 1}")
        if self.rendezvous is None:
            raise InputError(f"--nodes {self.nodes}: where do they meet? — --rendezvous HOST:PORT, a free port of the first machine")
        host, port = re.fullmatch(r"([\w.-]+|\[[\da-fA-F:.]+\]):(\d{1,5})|.*", self.rendezvous, re.DOTALL).groups()
        if host is None or not 0 < int(port) < 2**16:
            raise InputError(f"--rendezvous {self.rendezvous}: wants HOST:PORT, as in node1:29500 — a free port of the first machine")

    @property
    def first(self) -> bool:
        """Whether the run folder is this machine's; the others neither read nor write one."""
        return not self.node_rank

    @property
    def options(self) -> list[str]:
        """The words on the command line of `imggen train` that say this."""
        words = ["--processes", str(self.processes)] if self.processes > 1 else []
        if self.nodes > 1:
            words += ["--nodes", str(self.nodes), "--node-rank", str(self.node_rank), "--rendezvous", self.rendezvous]
        return words

    @property
    def torchrun_options(self) -> list[str]:
        words = ["--nproc-per-node", str(self.processes)]
        if self.nodes == 1:
            return [*words, "--standalone"]
        # static: the ranks are the given ones, so that it is the first machine that writes
        return [*words, "--nnodes", str(self.nodes), "--node-rank", str(self.node_rank), "--rdzv-backend", "static",
                "--rdzv-endpoint", self.rendezvous]  # fmt: skip


def torchrun(job: dict, machines: Machines) -> None:
    """Run `imggen train-worker` on `job` in every process of this machine; raises what a worker reported."""
    if machines.rendezvous:
        host, _, port = machines.rendezvous.rpartition(":")
        try:
            socket.getaddrinfo(host.strip("[]"), port)
        except OSError as error:
            raise InputError(f"--rendezvous {machines.rendezvous}: {host} cannot be found from here ({error.strerror})") from None
    mark = new_mark()
    with tempfile.TemporaryDirectory(prefix="imggen-") as scratch:
        path, failure, noise = (Path(scratch, name) for name in ("job.json", "failure.json", "torchrun.txt"))
        path.write_text(json.dumps(job | {"failure": str(failure)}))
        command = [sys.executable, "-c", AGENT, *machines.torchrun_options]
        with noise.open("wb") as stderr:  # torchrun's own tracebacks; the workers say what went wrong in `failure`
            process = subprocess.Popen(
                command + ["-m", "imggen_core.cli", "train-worker", str(path)],
                env=os.environ | thread_environment(machines.processes) | {MARK: mark, "TORCH_CPP_LOG_LEVEL": "ERROR"},
                stderr=stderr,
                start_new_session=True,
            )
            try:
                status = process.wait()
            finally:
                kill_marked(mark, process)
        said = noise.read_text(errors="replace")
        if killed := re.search(r"Root Cause.*?exitcode *: -\d+ [^\n]*\((SIG\w+)\)", said, re.DOTALL):
            raise RunFailed(f"{job['chapter']}: one of its processes was killed ({killed[1]}) — {AGAIN}")
        if status < 0:
            raise RunFailed(f"{job['chapter']}: its torchrun was killed ({signal.Signals(-status).name}) — {AGAIN}")
        if failure.exists():
            report = json.loads(failure.read_text())
            raise InputError(report["message"]) if report["input"] else RunFailed(report["message"])
        if status:
            last = first_line("\n".join(reversed(said.splitlines())))
            raise RunFailed(f"{job['chapter']}: torchrun ended with status {status} ({last})")
