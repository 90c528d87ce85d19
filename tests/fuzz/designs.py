"""Folders of designs: .npy headers and values, and metadata, spoiled in one of three designs."""

import functools
import io
import json
import struct
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from .mutations import spoil_bytes, spoil_json


@functools.cache
def seeds() -> list[dict[str, bytes]]:
    from imggen_core.designs import make_design
    from imggen_core.worlds import design_files

    with tempfile.TemporaryDirectory() as folder:
        design_files.write_folder([make_design(0, index, 32) for index in range(3)], folder)
        return [{str(path.relative_to(folder)): path.read_bytes() for path in sorted(Path(folder).rglob("*.*"))}]


def mutate(random, seed: dict[str, bytes]) -> dict:
    files = dict(seed)
    for name in random.sample(sorted(files), random.choice([1, 1, 2, 9])):
        files[name] = spoil_json(random, json.loads(files[name])) if name.endswith(".json") else spoil_npy(random, files[name])
    return files


def spoil_npy(random, data: bytes) -> bytes:
    array = np.load(io.BytesIO(data))
    action = random.randrange(7)
    if action == 0:
        return spoil_bytes(random, data, 130)
    if action == 1:
        return spoil_bytes(random, data)
    if action == 2:  # other things that NumPy opens
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("arr_0.npy", random.choice([data, bytes(5_000_000)]))
        return random.choice([file.getvalue(), b"\x80\4c", b"", b"\x93NUMPY"])
    if action == 3:  # values
        array = array.astype(random.choice([array.dtype, np.float64, np.int8, np.complex64, "U3", "f2", "m8[s]"]))
        if array.dtype.kind in "fc":
            array.flat[random.randrange(array.size)] = random.choice([np.nan, np.inf, -1, 1e30])
        array = random.choice([array, array.T, array[None], array[:, :1], array[:0], array[:, ::2, ::2]])
        file = io.BytesIO()
        np.save(file, array)
        return file.getvalue()
    if action == 4:
        file = io.BytesIO()
        np.save(file, np.array([{"a": 1}] * 3, object), allow_pickle=True)
        return file.getvalue()
    shape = random.choice([(3, 10**9, 10**9), (2**62, ), (-1, 3), (0, ), "x", (3.0, 2), None, (3, 32, 32), (4, 32, 32), (3, 40_000,
                          40_000), ((1, ), ), (True, 3)])  # fmt: skip
    descr = random.choice(["|u1", "<f4", "<f8", "|O", "<U9999999", "x", [("a", "<f4")], "<M8[ns]", None, ">f4", "|V9", "|b1", "<f16"])
    header = {"descr": descr, "fortran_order": random.choice([True, False, 3]), "shape": shape}
    text = random.choice([repr(header), repr(header)[:-1], "(" * 150 + "1" + ")" * 150, "[" * 9000, "__import__('os').system('true')",
                         repr(header | {"more": 1}), "9" * 9000, "-" * 6000 + "1"])  # fmt: skip
    text = text.encode() + random.choice([b"\n", b"", b" " * 70_000, b"\0"])
    version, size = random.choice([((1, 0), "<H"), ((2, 0), "<I"), ((3, 0), "<I"), ((9, 9), "<I")])
    length = len(text) if random.random() < 0.8 else random.choice([0, 1, 65_535, 2**31])
    return b"\x93NUMPY" + bytes(version) + struct.pack(size, length % 2 ** (8 * struct.calcsize(size))) + text + array.tobytes()


def feed(data: dict) -> None:
    from imggen_core.kit import images
    from imggen_core.worlds.design_files import DesignFolder

    for name, content in data.items():
        path = Path("designs") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    folder = DesignFolder("designs")
    pictures, f_tensors, meta = folder[list(range(len(folder)))]
    images.checked_pictures(pictures)
    assert f_tensors.isfinite().all() and meta["tone"].isfinite().all() and meta["grammar"].isfinite().all()
