"""Small trainings with one parameter at its edge: what `-p` takes is learnt with, or refused in one sentence, never half-way."""

import functools
import importlib

from .settings import chapters

SECONDS = 60  # even a small training needs some


@functools.cache
def seeds() -> list[str]:
    from test_contract import SMALL

    return list(SMALL)


def mutate(random, chapter: str) -> dict:
    from test_contract import SMALL

    small, schema = SMALL[chapter][0], chapters()[chapter][1]
    name = random.choice([name for name, kind in schema.items() if name in small or not hasattr(kind, "low")] + list(small))
    return {"chapter": chapter, "name": name, "value": edge(random, schema[name], small.get(name))}


def edge(random, kind, usual):
    """A value that is small, so that the training stays short, and unusual."""
    if hasattr(kind, "each"):
        return [edge(random, kind.each, 8) for _ in range(random.choice([0, 1, 2, 3]))]
    if hasattr(kind, "options"):
        return random.choice(kind.options)
    if hasattr(kind, "kind"):
        return random.choice([None, edge(random, kind.kind, usual)])
    low = getattr(kind, "low", 0)
    if hasattr(kind, "multiple"):
        return int(max(low, -9) + random.choice([0, 0, 1, 2, 3, 4, 8, 12]))
    if hasattr(kind, "low"):
        return random.choice([low, kind.high, 1e-300, 1e-12, 0.5, 1.0, 10.0, 1e30, 1e300])
    return random.choice([True, False, "x", "", "16x8", 1, 2, 3, 17, "data/curves.svg", "1x40", "settings.ini", "data", None])


def feed(data: dict) -> None:
    from test_contract import SMALL

    from imggen_core import cli
    from imggen_core.kit import zoo
    from imggen_core.kit.run import Run

    chapter = data["chapter"]
    own = cli.schema_of_train(chapter)
    if data["name"] not in own:
        return
    small = SMALL[chapter][0]
    given = cli.chosen(chapter, own, small, "laptop", [f"{data['name']}={data['value']}"])
    run = Run(chapter, given, folder="run", device="cpu", precision="no", quiet=True)
    importlib.import_module(f"imggen_core.{chapter}").train(run, **given)
    zoo.load("run").sample(1)
