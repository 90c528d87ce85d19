"""Checkpoints whose config.json is spoiled: its values, its class, its depth; now and then the card or the kind of file, too."""

import functools
import json
import os
import shutil
from pathlib import Path

from .campaign import ROOT
from .mutations import spoil_bytes, spoil_json, spoil_value
from .weights import load_and_draw

CLASSES = ["torch.nn.Linear", "imggen_core.ddpm.ResidualBlock", "imggen_core.ddpm.Attention", "imggen_core.wireframe.GridNetwork",
           "imggen_core.wireframe.CoordinateNetwork", "imggen_core.designer.GuidedNetwork", "imggen_core.kit.run.Run",
           "imggen_core.nothing.Model", "imggen_core", "os.system", "imggen_core.cli.main", "imggen_core..ddpm.DDPM",
           "imggen_core.ddpm.DDPM.sample", ""]  # fmt: skip


@functools.cache
def seeds() -> list[tuple[str, dict]]:
    return [(path.parent.name, json.loads(path.read_text())) for path in sorted((ROOT / "checkpoints").glob("*/config.json"))]


def mutate(random, seed: tuple[str, dict]) -> dict:
    name, config = seed
    card = (ROOT / "checkpoints" / name / "README.md").read_bytes()
    return {"model": name, "config": spoil_json(random, config, spoiled), "card": spoil_bytes(random,
            card) if random.random() < 0.1 else card, "instead": random.choice([None] * 60 + ["config.json as a pipe",
            "model.safetensors as a pipe", "config.json as a folder", "model.safetensors as a link"])}  # fmt: skip


def spoiled(random, config: dict) -> dict:
    if random.random() < 0.1:
        return config | {"class": random.choice(CLASSES + [other["class"] for _, other in seeds()])}
    return {"class": config["class"]} | spoil_value(random, {name: value for name, value in config.items() if name != "class"} or {"a": 1})


def feed(data: dict) -> None:
    from imggen_core.kit import zoo

    shutil.copytree(ROOT / "checkpoints" / data["model"], "shelf/model", ignore=shutil.ignore_patterns("*.png"))
    folder = Path("shelf/model")
    (folder / "config.json").write_bytes(data["config"])
    (folder / "README.md").write_bytes(data["card"])
    if data["instead"]:
        name, _, kind = data["instead"].partition(" as a ")
        (folder / name).unlink()
        {"pipe": os.mkfifo, "folder": os.mkdir, "link": lambda path: os.symlink("/dev/zero", path)}[kind](folder / name)
    assert all("\n" not in line for line in zoo.models(Path("shelf")).values())
    load_and_draw("shelf/model")
