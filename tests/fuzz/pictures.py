"""Picture files of every kind that is read: their headers, chunks, tags and ends are spoiled."""

import functools
import io
import re
import struct
import warnings
import zlib
from pathlib import Path

from PIL import Image

from .mutations import spoil_bytes

SUFFIX = {"JPEG": "jpg", "TIFF": "tif", "PPM": "ppm"}


@functools.cache
def seeds() -> list[tuple[str, bytes]]:
    """(suffix, bytes): small pictures in every format, mode and packing that Pillow writes."""
    colours = Image.frombytes("RGB", (13, 9), bytes(i * 7 % 256 for i in range(13 * 9 * 3)))
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a photo"
    ways = [("PNG", mode, {}) for mode in ("RGB", "RGBA", "L", "LA", "P", "1", "I;16")]
    ways += [("PNG", "RGB", {"exif": exif, "icc_profile": b"x" * 200, "dpi": (9, 9)}), ("PNG", "P", {"transparency": 3}),
             ("PNG", "RGB", {"save_all": True, "append_images": [colours, colours.rotate(9)]})]  # fmt: skip
    ways += [("JPEG", mode, options) for mode in ("RGB", "L", "CMYK") for options in ({}, {"progressive": True, "exif": exif})]
    ways += [("GIF", "P", {}), ("GIF", "RGB", {"save_all": True, "append_images": [colours.rotate(90)]}), ("GIF", "P", {"transparency": 1})]
    ways += [("BMP", mode, {}) for mode in ("RGB", "RGBA", "L", "P", "1")]
    ways += [("WEBP", "RGB", {}), ("WEBP", "RGBA", {"lossless": True, "exif": exif}), ("WEBP", "RGB", {"save_all": True,
             "append_images": [colours]})]  # fmt: skip
    ways += [("TIFF", mode, {"compression": packing}) for mode, packing in [("RGB", None), ("RGBA", "tiff_lzw"), ("L",
             "tiff_adobe_deflate"), ("1", "group4"), ("F", None), ("I;16", None), ("CMYK", "packbits"), ("RGB", "jpeg"), ("P", None),
             ("RGB", "tiff_lzw")]]  # fmt: skip
    ways += [("PPM", mode, {}) for mode in ("RGB", "L", "1", "I")]
    found = []
    for kind, mode, options in ways:
        file = io.BytesIO()
        picture = colours.convert("L").convert("I").convert("I;16") if mode == "I;16" else colours.convert(mode)
        picture.save(file, kind, **{name: value for name, value in options.items() if value is not None})
        found.append((SUFFIX.get(kind, kind.lower()), file.getvalue()))
    return found + [("ppm", b"P3\n2 2\n255\n1 2 3 4 5 6 7 8 9 10 11 12\n"), ("pgm", b"P2 2 1 9\n4 5"), ("ppm",
                    b"PF\n2 1\n-1.0\n" + bytes(24))]  # fmt: skip


def mutate(random, seed: tuple[str, bytes]) -> dict:
    suffix, data = seed
    spoiled = {"png": spoil_png, "jpg": spoil_jpeg, "ppm": spoil_words, "pgm": spoil_words}.get(suffix, spoil_header)
    data = random.choice([spoiled, spoiled, spoil_header, spoil_bytes])(random, data)
    suffix = random.choice([suffix] * 6 + ["png", "svg", ""])
    return {"name": f"picture.{suffix}", "data": data, "size": random.choice([None, 8, (30, 4)]), "in a folder": random.random() < 0.2}


def spoil_header(random, data: bytes) -> bytes:
    return spoil_bytes(random, data, random.choice([16, 64, 200]))


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def spoil_png(random, data: bytes) -> bytes:
    """Chunks changed, moved, doubled, added: all with the right checksum."""
    chunks, at = [], 8
    while at + 8 <= len(data):
        size = struct.unpack(">I", data[at : at + 4])[0]
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + size]))
        at += 12 + size
    for _ in range(random.choice([1, 1, 2])):
        place, action = random.randrange(len(chunks)), random.randrange(6)
        kind, content = chunks[place]
        if action == 0:
            chunks.insert(random.randrange(len(chunks) + 1), random.choice(chunks))
        elif action == 1 and len(chunks) > 1:
            del chunks[place]
        elif action == 2:
            made = random.choice([b"x\0\0" + zlib.compress(bytes(9_000_000)), b"Description\0" + bytes(50), random.randbytes(60), b"",
                                 bytes(4000)])  # fmt: skip
            chunks.insert(1, (random.choice([b"zTXt", b"iTXt", b"tEXt", b"iCCP", b"tRNS", b"gAMA", b"eXIf", b"PLTE", b"acTL", b"fcTL",
                          b"fdAT", b"pHYs", b"sBIT", b"XXXX"]), made))  # fmt: skip
        elif action == 3 and kind == b"IDAT":
            chunks[place] = kind, random.choice([zlib.compress(bytes(random.choice([0, 3, 100, 10**7]))),
                   zlib.compress(b"\xff" * 10_000), content[:-9], b""])  # fmt: skip
        elif action == 4:
            sides = [random.choice([0, 1, 9, 13, 5792, 32768, 70_000, 2**31 - 1, 2**32 - 1]) for _ in "hw"]
            chunks[0] = b"IHDR", struct.pack(">II", *sides) + bytes(random.choice([0, 1, 2, 3, 4, 6, 8, 16,
                   255]) if random.random() < 0.3 else byte for byte in chunks[0][1][8:])  # fmt: skip
        else:
            chunks[place] = kind, spoil_bytes(random, content or b"\0")
    return data[:8] + b"".join(chunk(kind, content) for kind, content in chunks)


def spoil_jpeg(random, data: bytes) -> bytes:
    """A marker's segment changed, or its size; EXIF with a wild orientation."""
    marks = [match.start() for match in re.finditer(rb"\xff[\xc0-\xfe]", data)]
    at = random.choice(marks)
    if random.random() < 0.2:
        exif = Image.Exif()
        exif[0x0112] = random.choice([0, 2, 5, 7, 9, 65535])
        segment = random.choice([exif.tobytes(), spoil_bytes(random, exif.tobytes()), b"Exif\0\0MM\0*\xff\xff\xff\xff"])
        return data[:2] + b"\xff\xe1" + struct.pack(">H", min(65535, len(segment) + 2)) + segment + data[2:]
    return data[:at] + spoil_bytes(random, data[at : at + 24]) + data[at + 24 :]


def spoil_words(random, data: bytes) -> bytes:
    """A number of the header, which is text."""
    words = re.split(rb"(\s+)", data, maxsplit=4)
    words[random.choice([0, 2, 4, 6]) % len(words)] = random.choice([b"0", b"-1", b"99999", b"P7", b"P9", b"1e9", b"nan", b"65536",
          b"#" * 200, b"", b"9" * 50])  # fmt: skip
    return b"".join(words)


def feed(data: dict) -> None:
    from imggen_core.kit import images, targets

    with warnings.catch_warnings(action="ignore"):
        Path("given").mkdir()
    file = Path("given") / data["name"]
    file.write_bytes(data["data"])
    if data["in a folder"]:
        Image.new("RGB", (4, 4)).save("given/other.png")
        for picture in images.folder("given", data["size"]):
            images.checked_pictures(picture[None])
    else:
        images.checked_pictures(targets.target(file, data["size"])[None])
