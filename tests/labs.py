"""A lab's exercises, tried with the author's answer, with a hole and with wrong answers: what its checks print."""

import contextlib
import io
import linecache
import re

import pytest

from imggen_core.kit import notebooks
from imggen_core.kit.settings import ROOT


def execute(name: str, source: str, names: dict) -> None:
    """Run a cell so that `inspect` finds its source, as it does in a notebook."""
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    exec(compile(source, name, "exec"), names)


def defines(cell, name: str) -> bool:
    return f"def {name}(" in cell.source and "exercise" in notebooks.tags(cell)


class Lab:
    """The author's copy of a lab, `lessons/solutions/NAME.ipynb`; `wrong`: for each exercise, pairs of a part of it and a wrong one."""

    def __init__(self, name: str, wrong: dict[str, list[tuple[str, str]]]):
        self.path, self.wrong = ROOT / "lessons" / "solutions" / f"{name}.ipynb", wrong

    def verdict(self, exercise: str, change=lambda source: source) -> str:
        """What the check of `exercise` prints when the answer is what `change` makes of the author's; earlier exercises are answered."""
        cells = [cell for cell in notebooks.read(self.path).cells if cell.cell_type == "code"]
        sources, names, printed = [cell.source for cell in cells], {"__name__": "__main__"}, io.StringIO()
        place = {name: n for n, cell in enumerate(cells) for name in self.wrong if defines(cell, name)}
        checks = [n for n in range(place[exercise] + 1, len(cells)) if re.search(rf"\bcheck\(\s*{exercise}\b", sources[n])]
        assert checks, f"{self.path.name}: no cell checks {exercise}"
        execute("imports", next(source for source in sources if source.startswith(("import ", "from "))), names)
        with contextlib.redirect_stdout(printed):
            for n in range(min(place.values()), checks[-1] + 1):
                if "widgets." in sources[n]:  # they show models, and exercises do without
                    continue
                if n == place[exercise]:
                    printed.truncate(0), printed.seek(0)
                execute(f"{exercise} {n}", change(sources[n]) if n == place[exercise] else sources[n], names)
        return printed.getvalue()

    def accepts(self, exercise: str) -> None:
        """Fails unless the check accepts the author's answer, and names a hole as one."""
        passed = self.verdict(exercise)
        assert "✓" in passed and "✗" not in passed and "○" not in passed, passed
        unfilled = self.verdict(exercise, lambda source: notebooks.make_hole(source, exercise))
        assert unfilled.startswith("○") and "✓" not in unfilled, unfilled

    def rejects(self, exercise: str, old: str, new: str) -> None:
        """Fails unless the check names what is wrong, with a hint, when `old` in the answer is `new`."""

        def spoil(source: str) -> str:
            assert old in source, f"{exercise}: {old!r} is not in the author's answer"
            return source.replace(old, new)

        printed = self.verdict(exercise, spoil)
        assert "✗" in printed and "hint" in printed, printed

    def mistakes(self):
        """The arguments of `rejects`, for `pytest.mark.parametrize`."""
        return [pytest.param(name, old, new, id=f"{name}-{n}") for name, ways in self.wrong.items() for n, (old, new) in enumerate(ways)]
