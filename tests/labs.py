"""A lab's exercises, tried with the author's answer, with a hole and with wrong answers: what its checks print."""

import contextlib
import io
import linecache
import re

import numpy as np
import torch

from imggen_core.kit import notebooks
from imggen_core.kit.settings import ROOT


def execute(name: str, source: str, names: dict) -> None:
    """Run a cell so that `inspect` finds its source, as it does in a notebook."""
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    exec(compile(source, name, "exec"), names)


class Moment:
    """The names of a session and the states of its random generators, to go back to. What a name refers to is not copied."""

    def __init__(self, names: dict):
        self.names, self.chance, self.chance_of_numpy = dict(names), torch.get_rng_state(), np.random.get_state()
        self.generators = [(value, value.get_state()) for value in names.values() if isinstance(value, torch.Generator)]
        rngs = [value.bit_generator for value in names.values() if isinstance(value, np.random.Generator)]
        self.of_numpy = [(bits, bits.state) for bits in rngs]

    def restore(self, names: dict) -> None:
        names.clear(), names.update(self.names)  # the same dict, because the functions of earlier cells look names up in it
        torch.set_rng_state(self.chance), np.random.set_state(self.chance_of_numpy)
        for generator, state in self.generators:
            generator.set_state(state)
        for bits, state in self.of_numpy:
            bits.state = state


class Lab:
    """The author's copy of a lab, `lessons/solutions/NAME.ipynb`, in a session that runs each cell before an exercise once."""

    def __init__(self, name: str, exercises):
        self.path = ROOT / "lessons" / "solutions" / f"{name}.ipynb"
        self.sources = [cell.source for cell in notebooks.read(self.path).cells if cell.cell_type == "code"]
        places = [n for n, source in enumerate(self.sources) if notebooks.BEGIN in source]
        self.place = {exercise: n for exercise in exercises for n in places if f"def {exercise}(" in self.sources[n]}
        assert set(self.place) == set(exercises), f"{self.path.name}: no answer to {set(exercises) - set(self.place)}"
        self.names = {"__name__": "__main__"}
        execute("imports", next(source for source in self.sources if source.startswith(("import ", "from "))), self.names)
        self.moments = {min(self.place.values()): Moment(self.names)}

    def run(self, n: int, source: str) -> None:
        if "widgets." not in source:  # they show models, and exercises do without
            execute(f"{self.path.stem} {n} {hash(source)}", source, self.names)

    def go_to(self, exercise: str) -> None:
        """Make the session what it is just before `exercise`, with the earlier ones answered by the author."""
        place = self.place[exercise]
        if place not in self.moments:
            nearest = max(n for n in self.moments if n < place)
            self.moments[nearest].restore(self.names)
            for n in range(nearest, place):
                if n in self.place.values() and n not in self.moments:
                    self.moments[n] = Moment(self.names)
                self.run(n, self.sources[n])
            self.moments[place] = Moment(self.names)
        self.moments[place].restore(self.names)

    def checks(self, exercise: str) -> list[int]:
        """The cells that check `exercise`."""
        return [n for n, source in enumerate(self.sources) if re.search(rf"\bcheck\(\s*{exercise}\b", source)]

    def verdict(self, exercise: str, change, last: int) -> str:
        """What the cells from `exercise` to the cell `last` print when the answer is what `change` makes of the author's."""
        with contextlib.redirect_stdout(io.StringIO()):
            self.go_to(exercise)
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            for n in range(self.place[exercise], last + 1):
                self.run(n, change(self.sources[n]) if n == self.place[exercise] else self.sources[n])
        return printed.getvalue()

    def accepts(self, exercise: str) -> None:
        """Fails unless the check accepts the author's answer, and names a hole as one."""
        last = self.checks(exercise)[-1]
        passed = self.verdict(exercise, lambda source: source, last)
        assert "✓" in passed and "✗" not in passed and "○" not in passed, passed
        unfilled = self.verdict(exercise, lambda source: notebooks.make_hole(source, exercise), last)
        assert unfilled.startswith("○") and "not filled in yet" in unfilled and "✓" not in unfilled and "✗" not in unfilled, unfilled

    def rejects(self, exercise: str, wrong: str | tuple[str, str]) -> None:
        """Fails unless the check says, with a hint, what is wrong with `wrong`, and no later check does.

        `wrong` is a whole answer, or (a part of the author's, what stands there instead).
        """

        def spoil(source: str) -> str:
            if isinstance(wrong, str):
                return re.sub(rf"{notebooks.BEGIN}.*?{notebooks.END}", lambda _: wrong, source, flags=re.DOTALL)
            part, other = wrong
            assert part in source, f"{exercise}: {part!r} is not in the author's answer"
            return source.replace(part, other)

        printed = self.verdict(exercise, spoil, max(self.checks(name)[-1] for name in self.place))
        assert "✗" in printed and "hint" in printed, printed
        blamed = {line.split(":")[0] for line in printed.splitlines() if line.startswith("✗")}
        assert len(blamed) == 1, f"{exercise} alone is wrong, and these are said to be: {blamed}"
