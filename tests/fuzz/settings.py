"""settings.ini, spoiled line by line."""

import functools
from pathlib import Path

from .campaign import ROOT
from .mutations import TEXTS, spoil_bytes


@functools.cache
def seeds() -> list[str]:
    return [(ROOT / "settings.ini").read_text()]


VALUES = ["nan", "-3", "1e400", "cuda:99", "[", "[1, 2", "{}", "None", "9" * 5000, "(" * 9000, "%(x)s", "é", "0", "1e308",
          "__import__('os')", "-", "'", "[[]]", "[8, -1]", "float16", "1_0"]  # fmt: skip


def mutate(random, seed: str) -> dict:
    if random.random() < 0.15:
        return {"settings.ini": spoil_bytes(random, seed.encode())}
    lines = seed.splitlines()
    for _ in range(random.choice([1, 1, 2, 4])):
        at, action = random.randrange(len(lines)), random.randrange(6)
        name = lines[at].partition("=")[0].strip()
        if action == 0:
            del lines[at]
        elif action == 1:
            lines.insert(at, random.choice(lines))
        elif action == 2:
            lines[at] = random.choice(["[", "[]", "[chapter ]", "[chapter ../x]", "[chapter wireframe]", "[x.smoke]", "=", "a",
                  " x = 1", "[chapter a b]", "[DEFAULT]", "[chapter DEFAULT]"])  # fmt: skip
        else:
            lines[at] = f"{name} = {random.choice(VALUES + TEXTS)}"
    text = "\n".join(lines)
    return {"settings.ini": text.encode(random.choice(["utf-8"] * 9 + ["utf-16", "utf-8-sig", "latin-1"]), "replace")}


def feed(data: dict) -> None:
    """Everything that reads it: the list of chapters, a run's parameters at each scale, the device, the precision."""
    from imggen_core import cli
    from imggen_core.kit import settings

    kept = settings.ROOT
    Path("settings.ini").write_bytes(data["settings.ini"])
    Path("nbs").symlink_to(kept / "nbs")
    try:
        settings.ROOT = Path.cwd()
        settings.sections.cache_clear(), settings.chapters.cache_clear()
        cli.chapters(None)
        for name, (defaults, schema) in chapters().items():
            settings.chapter(name)
            for scale in settings.SCALES:
                cli.chosen(name, schema, defaults, scale, [])
        settings.choose_precision(settings.choose_device("auto"), "auto")
    finally:
        settings.ROOT = kept
        settings.sections.cache_clear(), settings.chapters.cache_clear()


@functools.cache
def chapters() -> dict[str, tuple[dict, dict]]:
    """The notebook's parameters and the schema of each chapter."""
    from imggen_core import cli
    from imggen_core.kit import notebooks

    paths = {path.stem[3:]: path for path in sorted((ROOT / "nbs").glob("[0-9]*.ipynb"))}
    defaults = {name: notebooks.parameters_of(path) for name, path in paths.items()}
    return {name: (values, cli.schema_of(name, values)) for name, values in defaults.items()}
