"""Inputs from strangers, spoiled on purpose: each must be taken, or refused in one sentence.

A kind of input is a module with three functions: `seeds()`, good inputs; `mutate(random, seed)`, one of them spoiled; `feed(data)`, what
the course does with it, in an empty working folder. Input NUMBER of KIND depends on the kind, the seed and the number alone:
`IMGGEN_FUZZ_SEED=20260101 python -m fuzz svg 17` (in tests/) gives it once more, and `make fuzz MINUTES=60` tries for an hour.
What counts as unexpected is decided in `judge`; `worker` is the process in which inputs are tried, `campaign` the one that watches it.
"""

KINDS = ["svg", "pictures", "weights", "config", "saved", "designs", "settings", "parameters", "controls", "answers", "trainings"]
