"""`-p NAME VALUE` for every chapter: what is accepted must be what `train` takes, and comes back from params.json as it was."""

import importlib
from pathlib import Path

from .mutations import NUMBERS, TEXTS
from .settings import chapters


def seeds() -> list[str]:
    return list(chapters())


def mutate(random, chapter: str) -> dict:
    schema = chapters()[chapter][1]
    pairs = []
    for _ in range(random.choice([1, 1, 1, 2, 4])):
        name = random.choice(list(schema))
        pairs.append([random.choice([name] * 9 + [name.upper(), name[:-1], "", "=", "__class__", "a" * 3000]), text(random, schema[name])])
    return {"chapter": chapter, "pairs": pairs, "scale": random.choice(["laptop", "smoke", "full", "laptop", "tiny"])}


def text(random, kind) -> str:
    """What a person may type for a parameter of this kind: its limits and just beyond, lists of any length, and nonsense."""
    kind = getattr(kind, "kind", kind)
    if random.random() < 0.3:
        return random.choice(TEXTS + ["[1, 2", "[]", "[[]]", "()", "{1}", "[None]", "1,2", "1j", "b'a'", "lambda: 0", "0b11", "1e5",
                             "5e-324", "320x", "0x0", "99999x99999", "320x200"])  # fmt: skip
    if hasattr(kind, "each"):
        return f"[{', '.join(text(random, kind.each) for _ in range(random.choice([0, 1, 2, 3, kind.most + 1])))}]"
    if hasattr(kind, "options"):
        return random.choice([*map(str, kind.options), "x", str(kind.options)])
    edges = [edge + off for edge in (getattr(kind, "low", 0), getattr(kind, "high", 9)) for off in (-1, 0, 1, 0.5)]
    return str(random.choice(edges + NUMBERS))


def feed(data: dict) -> None:
    from imggen_core import cli
    from imggen_core.kit import folder, parameters

    chapter = data["chapter"]
    defaults, schema = chapters()[chapter]
    if any(name == "-p" for name, _ in data["pairs"]):
        return
    words = cli.pair_up(["run", chapter, *(word for name, value in data["pairs"] for word in ("-p", name, value))])
    values = cli.chosen(chapter, schema, defaults, data["scale"], [word for word in words[2:] if word != "-p"])
    folder.claim(Path("run"), chapter, data["scale"], values).close()
    assert folder.read(Path("run/params.json"))["parameters"] == values
    train = getattr(importlib.import_module(f"imggen_core.{chapter}"), "train", None)
    for name, kind in parameters.of(train).items() if train else ():
        assert name not in values or kind.read(name, values[name]) == values[name], name
