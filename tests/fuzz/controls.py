"""`imggen sample MODEL --CONTROL VALUE ...`: the command line itself, with controls, seeds, counts and names of files."""

import os
import sys

from .mutations import NUMBERS, TEXTS
from .weights import seeds  # noqa: F401

OUTS = ["a.png", "a.jpg", "a.svg", "a.zip", "a/", "a", "a.gif", ".png", "x/a.png", "a" * 300 + ".png", "~nosuch/a.png", "/proc/a.png",
        "a\nb.png", "/dev/null", "/dev/null/", "é\u202e.png", "..", "./a.PNG", "a.png/", "\ud800.png", " .png", "-.png",
        "/proc/self/mem", "a\0.png", "~"]  # fmt: skip


def mutate(random, model: str) -> dict:
    from imggen_core.kit import zoo

    model = random.choice([model] * 12 + ["", "nobody", model[:-1], "..", "/etc", "\0", "a" * 5000, "/dev/zero", "a\nb", "checkpoints",
                          "~nosuch", "\ud800"])  # fmt: skip
    controls, words = zoo.load(model).controls if model in zoo.models() else {}, []
    for name, control in random.sample(sorted(controls.items()), min(len(controls), random.choice([0, 1, 1, 2]))):
        edges = [value + off for value in (getattr(control, "low", 0), getattr(control, "high", 0)) for off in (0, 1, -1, 1e-9)]
        value = str(random.choice([*getattr(control, "options", ()), *edges, *edges, *NUMBERS, *TEXTS]))
        name = random.choice([name, name, name.replace("_", "-"), name[:-1], name.upper()])
        words += random.choice([[f"--{name}", value], [f"--{name}={value}"], [f"--{name}"]])
    for option in random.sample(["-n", "--seed", "--first"], random.choice([0, 0, 1, 2])):
        words += [option, str(random.choice([0, 1, 2, -1, 2**53, 2**53 + 1, 2**63, 10**30, "x", "1.5", "nan", "", "1e3", "٣", "1 0"]))]
    if random.random() < 0.5:
        words += ["--out", random.choice(OUTS)]
    words += random.choice([[]] * 8 + [["--"], ["-"], ["extra"], ["--help"], ["--x"], [""], ["--n", "2"]])
    return {"model": model, "words": words if "-n" in words else [*words, "-n", "1"]}


def feed(data: dict) -> None:
    import signal

    from imggen_core import cli

    words = ["imggen", "sample", data["model"], *data["words"]]
    if any("\0" in word for word in words):
        return  # no system hands it on
    kept, handlers = sys.argv, {name: signal.getsignal(name) for name in (signal.SIGTERM, signal.SIGHUP)}
    try:
        sys.argv = [os.fsdecode(word.encode("utf-8", "surrogateescape" if "\ud800" not in word else "replace")) for word in words]
        cli.main()
    except SystemExit as end:
        assert not end.code, f"status {end.code}"
    finally:
        sys.argv = kept
        for name, handler in handlers.items():
            signal.signal(name, handler)
