"""What a data world is asked for: sizes and seeds, checked before anything is drawn."""

import numbers

import numpy as np

from ..kit.settings import InputError

SIZES = (32, 4096)  # pixels of a side


def height_width(size) -> tuple[int, int]:
    """(H, W) for a size in pixels that is one whole number or two, each in SIZES; InputError for anything else."""
    try:
        sides = (size, size) if isinstance(size, numbers.Integral) else tuple(size)
    except TypeError:
        sides = ()
    whole = all(isinstance(side, numbers.Integral) and not isinstance(side, bool) for side in sides)
    if len(sides) != 2 or not whole or not all(SIZES[0] <= side <= SIZES[1] for side in sides):
        raise InputError(f"size={size!r}: must be a whole number of pixels from {SIZES[0]} to {SIZES[1]}, or two (height, width)")
    return int(sides[0]), int(sides[1])


def generator_of(seed: int, index: int) -> np.random.Generator:
    """The random numbers of design `index` of `seed`, whole numbers from 0; InputError for anything else."""
    for name, value in (("seed", seed), ("index", index)):
        if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < 0:
            raise InputError(f"{name}={value!r}: must be a whole number from 0 upward")
    return np.random.default_rng([int(seed), int(index)])
