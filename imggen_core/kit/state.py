"""The saved state of a run: a folder step-N with safetensors and JSON, written whole or not at all, and never unpickled.

A state is made of plain values: None, truths, numbers, texts, lists, tuples, dicts, Counters, arrays and tensors. Beside what was
prepared it holds the states of the random generators.
"""

import collections
import hashlib
import json
import math
import random
import shutil
from pathlib import Path

import numpy as np
import torch

from . import files, settings, untrusted

KEPT = 2  # saved states: the newest, and the one before it in case the newest is damaged


def write_state(folder: Path, body: dict) -> Path:
    """Write folder/step-N/{state.safetensors,state.json} in one piece and through to the disk; keep the newest two states."""
    from safetensors.torch import save

    name = f"step-{body['step']:08d}"  # -01 and so on: the same step again, such as a timed save and then the loop's last
    final = next(folder / (name + end) for end in ["", *(f"-{i:02d}" for i in range(1, 100))] if not (folder / (name + end)).exists())
    tensors = {}
    skeleton = pack(body, tensors, "state")
    data = save(tensors)
    header = {"sha256": hashlib.sha256(data).hexdigest(), "sha256_of_state": digest(skeleton), "state": skeleton}
    with files.whole_folder(final) as new:
        (new / "state.safetensors").write_bytes(data)
        (new / "state.json").write_text(json.dumps(header), encoding="utf-8")
    for path in sorted(folder.glob("step-*"))[:-KEPT]:
        shutil.rmtree(path, ignore_errors=True)
    return final


def read_state(path: Path) -> tuple[dict, bytes]:
    """What `write_state` wrote, for `unpack_state`; ValueError, OSError or KeyError says what is wrong with it."""
    for name in ("state.json", "state.safetensors"):
        if not (path / name).is_file():
            raise ValueError(f"{name} is missing")
        if not (path / name).stat().st_size:
            raise ValueError(f"{name} is empty")
    try:
        header = untrusted.read_json(path / "state.json")
        intact = digest(header["state"]) == header["sha256_of_state"]
    except (ValueError, KeyError, TypeError):
        intact = False
    if not intact:
        raise ValueError("state.json is not what was written")
    data = untrusted.read(path / "state.safetensors", untrusted.STATE_BYTES)
    if hashlib.sha256(data).hexdigest() != header["sha256"]:
        raise ValueError("state.safetensors is not what was written")
    return header["state"], data


def unpack_state(skeleton: dict, data: bytes, device: torch.device | str = "cpu") -> dict:
    """The body that `write_state` was given, tensors of an accelerator on `device`."""
    from safetensors.torch import load

    return unpack(skeleton, load(data), device)


def checked(body: dict) -> dict:
    """`body`, if it is what a run saves; ValueError or its like otherwise. What the objects in it hold, they look at themselves."""
    count = lambda value: type(value) is int and 0 <= value < 2**53
    states = lambda value: isinstance(value, list) and all(isinstance(item, torch.Tensor) for item in value)
    known = {
        "step": count, "loop": count, "history_rows": count, "losses": count, "done": lambda value: isinstance(value, bool),
        "position": lambda value: "at" in value and ("pass" in value) == ("batch" in value) and all(map(count, value.values())),
        "clock": lambda value: len(value) == 2 and all(0 <= seconds < math.inf for seconds in value),
        "loss_sum": lambda value: value is None or isinstance(value, torch.Tensor) and value.numel() == 1,
        "random": states, "data_random": lambda value: states(value["global"]) and states(value["loaders"]),
        "objects": lambda value: isinstance(value, list),
    }  # fmt: skip
    for name, good in known.items():
        if not good(body[name]):
            raise ValueError(f"{name} is not what a run writes")
    return body


def digest(value) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def pack(value, tensors: dict[str, torch.Tensor], where: str):
    """`value` as JSON, its tensors moved to `tensors`; TypeError names the place of what cannot be saved."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value.item() if isinstance(value, np.generic) else value  # np.float64 is a float
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        tensors[where] = torch.from_numpy(value.copy())
        return {"array": where}
    if isinstance(value, torch.Tensor):
        turned = value.dim() == 4 and not value.is_contiguous() and value.is_contiguous(memory_format=torch.channels_last)
        tensors[where] = value.detach().to("cpu", copy=True).contiguous()  # copied: safetensors refuses tensors that share memory
        return {"tensor": where, "layout": "channels_last" if turned else "plain", "on": "cpu" if value.device.type == "cpu" else "device"}
    if isinstance(value, dict):
        kind = "counter" if isinstance(value, collections.Counter) else "dict"
        return {kind: [[pack(key, tensors, f"{where}.key{i}"), pack(item, tensors, f"{where}.{i}.{key}")]
                       for i, (key, item) in enumerate(value.items())]}  # fmt: skip
    if isinstance(value, (list, tuple)):
        items = [pack(item, tensors, f"{where}.{i}") for i, item in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    raise TypeError(f"{where}: a {type(value).__name__} cannot be saved — keep numbers, texts, tensors, lists and dicts in a state")


def unpack(value, tensors: dict[str, torch.Tensor], device: torch.device | str = "cpu"):
    """What `pack` packed; tensors that were not on the CPU are put on `device`."""
    if isinstance(value, list):
        return [unpack(item, tensors, device) for item in value]
    if not isinstance(value, dict):
        return value
    if not value:
        raise ValueError("an empty object is no value")
    kind, content = next(iter(value.items()))
    if kind == "tensor":
        layout = torch.channels_last if value["layout"] == "channels_last" else torch.contiguous_format
        return tensors[content].contiguous(memory_format=layout).to(device if value["on"] == "device" else "cpu")
    if kind == "array":
        return tensors[content].numpy()
    if kind == "tuple":
        return tuple(unpack(item, tensors, device) for item in content)
    if kind not in ("dict", "counter"):
        raise ValueError(f"{kind[:20]!r} is no kind of value")
    pairs = {unpack(key, tensors): unpack(item, tensors, device) for key, item in content}
    return collections.Counter(pairs) if kind == "counter" else pairs


class Randomness:
    """A second set of Python's, NumPy's and PyTorch's global generators, in force inside `with`: what data loading draws from."""

    def __init__(self, seed: int):
        outside = random_state()
        settings.seed_everything(seed)
        self.torch, self.python, self.numpy = torch.get_rng_state(), random.getstate(), np.random.MT19937(seed % 2**32)
        set_random_state(outside)

    def __enter__(self) -> None:
        self.swap()

    def __exit__(self, *error) -> None:
        self.swap()

    def swap(self) -> None:
        inside = self.torch, self.python, self.numpy
        self.torch, self.python, self.numpy = torch.get_rng_state(), random.getstate(), np.random.get_bit_generator()
        torch.set_rng_state(inside[0])
        random.setstate(inside[1])
        np.random.set_bit_generator(inside[2])

    def get(self) -> torch.Tensor:
        with self:
            return random_state()

    def set(self, state: torch.Tensor) -> None:
        with self:
            set_random_state(state)


def random_state(device: torch.device | None = None) -> torch.Tensor:
    """The state of Python's, NumPy's and PyTorch's global generators (and the device's), as bytes in a tensor."""
    from safetensors.torch import save

    version, python, gauss = random.getstate()
    numpy = np.random.get_state()
    state = {"torch": torch.get_rng_state(), "python": torch.tensor(python, dtype=torch.int64),
             "python_gauss": torch.tensor([version, math.nan if gauss is None else gauss], dtype=torch.float64),
             "numpy": torch.tensor(numpy[1].astype(np.int64)), "numpy_rest": torch.tensor(numpy[2:], dtype=torch.float64)}  # fmt: skip
    if device is not None and device.type == "cuda":
        state["device"] = torch.cuda.get_rng_state(device)
    elif device is not None and device.type == "mps":
        state["device"] = torch.mps.get_rng_state()
    return torch.frombuffer(bytearray(save(state)), dtype=torch.uint8)


def set_random_state(blob: torch.Tensor, device: torch.device | None = None) -> None:
    """Set what `random_state` read."""
    from safetensors.torch import load

    state = load(blob.cpu().numpy().tobytes())
    torch.set_rng_state(state["torch"])
    version, gauss = state["python_gauss"].tolist()
    random.setstate((int(version), tuple(state["python"].tolist()), None if math.isnan(gauss) else gauss))
    position, has_gauss, cached = state["numpy_rest"].tolist()
    np.random.set_state(("MT19937", state["numpy"].numpy().astype(np.uint32), int(position), int(has_gauss), cached))
    if "device" in state and device is not None and device.type == "cuda":
        torch.cuda.set_rng_state(state["device"], device)
    elif "device" in state and device is not None and device.type == "mps":
        torch.mps.set_rng_state(state["device"])
