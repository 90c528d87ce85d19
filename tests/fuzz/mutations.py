"""What several kinds spoil their inputs with. Everything is drawn from the `random.Random` that is handed in."""

import json

NUMBERS = [0, -0.0, 1, -1, 2, 7, 0.5, 1e-300, 1e-30, 1e9, 1e300, -1e300, 2**31, 2**53, 2**63, -(2**63), 10**400, float("nan"), float("inf"),
           -float("inf")]  # fmt: skip
TEXTS = ["", " ", "x", "None", "nan", "1e999", "-0", "0x10", "1_000", "١٢", "ß" * 300, "a\nb", "a\rb", "\x1b[31m", "\u202e", "\ufeff",
         "../..", "/etc/passwd", "/dev/zero", "~nosuch/x", "${HOME}", "%s%n", "{0}", "'", '"', "\\", "\0", "[", "[" * 3000, "(" * 300,
         "{}", "a" * 5000, "9" * 5000, "__class__", "true", "💥", "\ud800"]  # fmt: skip


def anything(random, depth: int = 0):
    """A JSON value of any kind."""
    kind = random.randrange(9 if depth < 3 else 6)
    if kind < 2:
        return random.choice(NUMBERS)
    if kind < 4:
        return random.choice(TEXTS)
    if kind < 6:
        return random.choice([None, True, False, random.randrange(-3, 5000)])
    if kind == 6:
        return {random.choice(TEXTS): anything(random, depth + 1) for _ in range(random.randrange(3))}
    return [anything(random, depth + 1) for _ in range(random.choice([0, 1, 2, 3, 70]))]


def near(random, value):
    """A value of the kind of `value`, further off, or one of another kind."""
    if isinstance(value, bool) or value is None or random.random() < 0.3:
        return anything(random)
    if isinstance(value, (int, float)) and abs(value) < 1e300:
        return random.choice([value + 1, value - 1, -value, 2 * value, 16 * value, 10**6 * value, value / 3, str(value)[:50], [value]])
    if isinstance(value, str):
        at = random.randrange(len(value) + 1)
        return random.choice([value[:at], value[:at] + random.choice(TEXTS) + value[at:], value.upper(), value * 50, [value]])
    if isinstance(value, list):
        return random.choice([value[1:], value + value, value * 100, value[::-1], [value], value[0] if value else [[]],
                             value + [anything(random)]])  # fmt: skip
    return anything(random)


def places(value, path=()) -> list[tuple]:
    """The paths of every value inside a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in items for place in places(item, (*path, key)))]


def spoil_value(random, value):
    """A copy of a JSON value with one to three of its parts changed, taken out, renamed or added."""
    value = json.loads(json.dumps(value))
    for _ in range(random.choice([1, 1, 2, 3])):
        *path, key = random.choice(places(value)[1:] or [(None,)])
        if key is None:
            return anything(random)
        inside = value
        for step in path:
            inside = inside[step]
        action = random.randrange(8)
        if action == 0:
            del inside[key]
        elif action == 1 and isinstance(inside, dict):
            inside[random.choice(TEXTS)] = inside.pop(key)
        elif action == 2 and isinstance(inside, dict):
            inside[random.choice([*TEXTS, key + "s"])] = anything(random)
        else:
            inside[key] = near(random, inside[key])
    return value


def spoil_json(random, value, spoiled=spoil_value) -> bytes:
    """A JSON value as bytes, spoiled as a value or as a text."""
    action = random.randrange(16)
    if action == 0:  # deeper than a parser that calls itself can go
        deep = random.choice([900, 5000, 200_000])
        return random.choice([b"[" * deep, b"[" * deep + b"]" * deep, b'{"a":' * deep + b"1" + b"}" * deep])
    if action == 1:
        return spoil_bytes(random, json.dumps(value).encode())
    if action == 2 and isinstance(value, dict) and value:  # a name that comes twice, or one place with a tower in it
        name = random.choice(list(value))
        other = random.choice([json.dumps(anything(random)), "[" * 5000 + "]" * 5000, "9" * 20_000, '"' + "x" * 2_000_000 + '"'])
        return (json.dumps(value)[:-1] + f", {json.dumps(name)}: {other}}}").encode()
    text = json.dumps(spoiled(random, value))
    return text.encode(random.choice(["utf-8"] * 8 + ["utf-16", "utf-8-sig", "utf-32"]))


def spoil_bytes(random, data: bytes, where: int | None = None) -> bytes:
    """Bytes cut short, lengthened, or changed in a few places among the first `where`."""
    data = bytearray(data)
    for _ in range(random.choice([1, 1, 2, 5])):
        action, at = random.randrange(6), random.randrange(min(len(data), where or len(data)) + 1)
        if action == 0:
            del data[at:]
        elif action == 1:
            data[at:at] = random.choice([b"\0" * 9, b"\xff" * 9, b"PK\3\4", b"\x80\4c", bytes(random.randbytes(40))])
        elif action == 2:
            del data[at : at + random.choice([1, 4, 100])]
        else:
            size = random.choice([1, 2, 4, 8])
            whole = random.choice([0, 1, 255, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), 2 ** (8 * size - 1) - 1,
                                  random.getrandbits(8 * size)])  # fmt: skip
            data[at : at + size] = (whole % 2 ** (8 * size)).to_bytes(size, random.choice(["little", "big"]))
    return bytes(data)
