"""`python -m fuzz --minutes 60` tries every kind for as long; `python -m fuzz KIND NUMBER` tries one input and shows what comes of it."""

import argparse
import re
import time

from fuzz import KINDS
from fuzz.campaign import Count, Worker, keep, seed_of_today, table, total


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("kind", nargs="?", choices=KINDS, metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("number", nargs="?", type=int)
    parser.add_argument("--minutes", type=float, default=60)
    given = parser.parse_args()
    seed, worker = seed_of_today(), Worker()
    print(f"seed {seed}: IMGGEN_FUZZ_SEED={seed} repeats it", flush=True)
    if given.number is not None:
        print(worker.tried(given.kind, seed, given.number)["what"] or "accepted")
        keep(given.kind, seed, given.number, "kept by hand")
        return
    worker.start()
    counts = {kind: Count() for kind in ([given.kind] if given.kind else KINDS)}
    known = set()
    end, told = time.monotonic() + 60 * given.minutes, time.monotonic()
    try:
        while time.monotonic() < end:
            kind, count = min(counts.items(), key=lambda item: item[1].spent)  # every kind gets the same time
            begun = time.monotonic()
            result = worker.tried(kind, seed, count.inputs)
            count.add(result)
            count.spent += time.monotonic() - begun
            line = (result["what"].strip().splitlines() or [""])[-1][:160]
            if result["outcome"] == "unexpected" and (like := re.sub(r"\W*[\d.]+", "", line)[:60]) not in known:
                known.add(like)  # the first of its like is told, each is in runs/fuzz
                print(f"{kind} {count.inputs - 1}: {line}", flush=True)
            if time.monotonic() - told > 60:
                told, so_far = time.monotonic(), total(counts)
                print(f"{so_far.inputs:,} inputs, {so_far.unexpected} unexpected, {(end - told) / 60:.0f} minutes to go", flush=True)
    except KeyboardInterrupt:
        print("stopped")
    worker.end()
    print(f"seed {seed}", table(counts), sep="\n")
    raise SystemExit(1 if total(counts).unexpected else 0)


if __name__ == "__main__":
    main()
