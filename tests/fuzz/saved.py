"""Run folders: params.json, history.csv, results.json and the saved state, spoiled; then the run goes on."""

import functools
import hashlib
import json
import shutil
import struct
from pathlib import Path

from .campaign import ROOT
from .mutations import TEXTS, anything, spoil_bytes, spoil_json, spoil_value
from .weights import packed, spoil_header

STATE = "state/step-00000005/"


@functools.cache
def seeds() -> list[dict[str, bytes]]:
    folder = ROOT / "tests" / "saved_run"
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return [found | {"results.json": b'{"loss": 0.5, "figures": {"a": [1, 2]}}'}]


def mutate(random, seed: dict[str, bytes]) -> dict:
    name = random.choice(["params.json", "history.csv", "results.json", *[STATE + "state.json"] * 4, STATE + "state.safetensors"])
    data, files = seed[name], dict(seed)
    if name == "history.csv":
        lines = data.decode().splitlines()
        lines[random.randrange(len(lines))] = random.choice([",".join(TEXTS[:9]), "", ",,,,,", "1,2", "x" * 200_000, "nan,inf,-1",
              "9" * 5000 + ",1,1", '"', "\0"])  # fmt: skip
        data = random.choice(["\n".join(lines).encode(errors="replace"), spoil_bytes(random, data)])
    elif name.endswith("state.json") and random.random() < 0.8:  # with the right sums, so that what it says is believed
        header = json.loads(data)
        header["state"] = spoil_state(random, header["state"])
        header["sha256_of_state"] = hashlib.sha256(json.dumps(header["state"]).encode()).hexdigest()
        data = json.dumps(header).encode()
    elif name.endswith(".safetensors"):
        size = struct.unpack("<Q", data[:8])[0]
        data = packed(spoil_json(random, json.loads(data[8 : 8 + size]), spoil_header), data[8 + size :])
        header = json.loads(files[STATE + "state.json"])
        files[STATE + "state.json"] = json.dumps(header | {"sha256": hashlib.sha256(data).hexdigest()}).encode()
    else:
        data = spoil_json(random, json.loads(data))
    return files | {name: data}


def spoil_state(random, state):
    """The state with one of its entries spoiled. What the objects in it hold is left: that it fits is for the objects to see."""
    state = json.loads(json.dumps(state))
    pair = random.choice(state["dict"])
    others = [anything(random), {"dict": []}, {"tuple": [1]}, {"tensor": "x", "layout": "plain", "on": "cpu"}, [], -1, 10**9]
    pair[1] = random.choice(others + ([spoil_value(random, pair[1])] * 7 if pair[0] != "objects" else []))
    return state


def feed(data: dict) -> None:
    from imggen_core.kit.run import Run

    for name, content in data.items():
        path = Path("run") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    run = Run("toy", {"width": 2}, folder="run", device="cpu", precision="no", seed=5, scale="laptop", quiet=True)
    try:
        little(run)
        run.results(loss=1.0)
    finally:
        if run._tensorboard:
            run._tensorboard.close()  # it has a thread
        shutil.rmtree("run", ignore_errors=True)


def little(run) -> None:
    """The training that left `saved_run`, as in test_run.py."""
    import torch
    from torch import nn

    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Dropout(0.5), nn.Flatten(), nn.Linear(8, 2))
    images = torch.arange(24.0).view(6, 1, 2, 2) / 24
    data = torch.utils.data.DataLoader(images, 2, shuffle=True, generator=torch.Generator().manual_seed(4))
    opt = torch.optim.Adam(net.parameters(), 0.01)
    schedule = torch.optim.lr_scheduler.ExponentialLR(opt, 0.9)
    net, opt, data, schedule = run.prepare(net, opt, data, schedule)
    for _ in run.epochs(3):
        for x in run.batches(data):
            run.step((net(x) + torch.rand(2)).square().mean(), opt)
            schedule.step()
        run.log(loss=run.mean_loss, lr=schedule.get_last_lr()[0])
