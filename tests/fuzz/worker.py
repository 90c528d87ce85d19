"""The process that inputs are tried in, one after the other: a line `[kind, seed, number]` in, a line with what came of it out."""

import faulthandler
import importlib
import json
import os
import sys

LINUX = sys.platform == "linux"
ROOM = 6 << 30  # bytes of address space beyond what this process has once everything is imported: an absurd wish fails at once


def main() -> None:
    faulthandler.enable(os.fdopen(os.dup(2), "w"))  # says where a hang was, when the campaign ends it
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    import imggen_core.cli  # noqa: F401
    from fuzz import KINDS, judge
    from imggen_core.kit import zoo

    for name in zoo.models():  # what takes seconds to import is no input's fault
        zoo.load(name).sample(1)
    for kind in KINDS:
        importlib.import_module(f"fuzz.{kind}").seeds()
    size = address_space()
    if LINUX:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, size + ROOM))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    sys.addaudithook(judge.audit)
    print(json.dumps("ready"), file=answers, flush=True)
    for line in sys.stdin:
        result = judge.tried(*json.loads(line))
        tired = address_space() > size + ROOM // 2  # what inputs left behind, such as threads, adds up
        print(json.dumps(result | {"tired": tired}), file=answers, flush=True)


def address_space() -> int:
    """Bytes of this process's address space, on Linux."""
    return next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmSize")) if LINUX else 0


if __name__ == "__main__":
    main()
