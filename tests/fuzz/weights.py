"""Checkpoints whose safetensors file is spoiled: its header, which is JSON, and its values."""

import functools
import json
import pickle
import shutil
import struct

from .campaign import ROOT
from .mutations import anything, near, spoil_bytes, spoil_json

SHAPES = [[], [0], [1], [-1], [2**40, 2**40], [1] * 1000, [2**31], "x", [1.5], None, [[1]], [10**30]]
DTYPES = ["F64", "F32", "F16", "BF16", "I64", "U8", "BOOL", "F8_E4M3", "C64", "x", "", 3, None]


def seeds() -> list[str]:
    return sorted(path.parent.name for path in (ROOT / "checkpoints").glob("*/model.safetensors"))


@functools.lru_cache(2)
def parts(name: str) -> tuple[dict, bytes]:
    data = (ROOT / "checkpoints" / name / "model.safetensors").read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def mutate(random, name: str) -> dict:
    header, values = parts(name)
    action = random.randrange(10)
    if action == 0:
        data = random.choice([b"", b"\0" * 8, pickle.dumps({"a": [1.0]}), b"PK\3\4" + bytes(99), b"\xff" * 100])
        return {"model": name, "data": data}
    if action < 4:  # values: as they are but for some that are no numbers, or absurd
        values, word = bytearray(values), random.choice([b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\xff\xff\x7f\x7f", b"\0\0\x80\xff",
                                b"\0\0\0\0", b"\xff" * 4])  # fmt: skip
        words = len(values) // 4
        every = random.choice([1, 7, words // 2 + 1, words // 5 + 1])
        for at in range(random.randrange(every), words, every):
            values[4 * at : 4 * at + 4] = word
        return {"model": name, "data": packed(json.dumps(header).encode(), bytes(values))}
    if action == 4:
        return {"model": name, "data": spoil_bytes(random, packed(json.dumps(header).encode(), values), 3000)}
    written = spoil_json(random, header, spoil_header)
    sizes = [None] * 6 + [0, 1, len(written) - 1, len(written) + 1, 2**40, 2**63, 2**64 - 1, 99_000_000]
    return {"model": name, "data": packed(written, random.choice([values] * 4 + [values[:-4], values + b"\0" * 4, b""]),
            random.choice(sizes))}  # fmt: skip


def spoil_header(random, header: dict) -> dict:
    header = json.loads(json.dumps(header))
    for _ in range(random.choice([1, 1, 2])):
        name = random.choice([key for key in header if key != "__metadata__"] or ["x"])
        entry, action = header.get(name), random.randrange(8)
        if action == 0:
            header.pop(name, None)
        elif action == 1:
            header[random.choice(["x", "", name + ".weight", "__class__", "../x", "a" * 3000, name.upper()])] = header.pop(name, {})
        elif action == 2:
            header["__metadata__"] = anything(random)
        elif action == 3 or not isinstance(entry, dict):
            header[name] = anything(random)
        elif action == 4:
            entry["dtype"] = random.choice(DTYPES)
        elif action == 5:
            entry["shape"] = random.choice([*SHAPES, entry["shape"][::-1], [*entry["shape"], 1], entry["shape"][1:], near(random,
                  entry["shape"])])  # fmt: skip
        elif action == 6:
            entry["data_offsets"] = random.choice([[0, 0], [0, 2**60], [-8, 8], [9, 3], near(random, entry["data_offsets"]), [0.5, 4],
                  None, []])  # fmt: skip
        else:
            entry[random.choice(["more", "dtype", "shape"])] = anything(random)
    return header


def packed(header: bytes, values: bytes, size: int | None = None) -> bytes:
    return struct.pack("<Q", len(header) if size is None else size) + header + values


def feed(data: dict) -> None:
    shutil.copytree(ROOT / "checkpoints" / data["model"], "model", ignore=shutil.ignore_patterns("*.safetensors", "*.png"))
    with open("model/model.safetensors", "wb") as file:
        file.write(data["data"])
    load_and_draw("model")


def load_and_draw(folder: str) -> None:
    """What loads is drawn, too, as `imggen sample` does it: one picture on a sheet, and where the model draws vectors, one SVG."""
    from pathlib import Path

    from imggen_core.kit import samples, svg, zoo
    from imggen_core.kit.sampler import Sampler, checked

    model = zoo.load(folder)
    if isinstance(model, Sampler):
        wanted = samples.Samples(model, folder, zoo.fingerprint(folder), 1, 0, 0, checked(model.controls, {}))
        samples.write_sheet(wanted, Path("sheet.png"))
        if type(model).make_svg is not Sampler.make_svg:
            samples.write_svg(wanted, Path("drawing.svg"))
            svg.rasterise("drawing.svg", longer=32)
