"""Every lab: its checks accept the author's answers, name a hole as one, and reject the wrong answers of wrong_answers.py with a hint."""

import re
from functools import cache

import pytest
from labs import Lab, execute
from wrong_answers import WRONG

from imggen_core import strokes
from imggen_core.kit import notebooks, zoo
from imggen_core.kit.settings import ROOT

ANSWERS = {path.stem: path for path in sorted((ROOT / "lessons" / "solutions").glob("*.ipynb"))}


@cache
def lab(name: str) -> Lab:
    return Lab(name, WRONG[name])


def grouped(name: str, *values, id: str):
    """Parameters of a test of the lab `name`: with several workers, one of them runs all of its tests."""
    return pytest.param(name, *values, id=f"{name}-{id}", marks=pytest.mark.xdist_group(name))


EXERCISES = [grouped(name, exercise, id=exercise) for name, exercises in WRONG.items() for exercise in exercises]
MISTAKES = [
    grouped(name, exercise, wrong, id=f"{exercise}-{n}")
    for name, exercises in WRONG.items()
    for exercise, answers in exercises.items()
    for n, wrong in enumerate(answers)
]


@pytest.mark.parametrize("name, exercise", EXERCISES)
def test_the_check_accepts_the_authors_answer_and_names_a_hole(name, exercise):
    lab(name).accepts(exercise)


@pytest.mark.parametrize("name, exercise, wrong", MISTAKES)
def test_the_check_rejects_a_wrong_answer_with_a_hint(name, exercise, wrong):
    lab(name).rejects(exercise, wrong)


@pytest.mark.parametrize("name", ANSWERS)
def test_every_exercise_that_is_checked_has_wrong_answers(name):
    """A challenge has a hole too, but a score in place of a check."""
    sources = [cell.source for cell in notebooks.read(ANSWERS[name]).cells if cell.cell_type == "code"]
    checked = {found for source in sources for found in re.findall(r"^(?:_ = )?check\(\s*(\w+)", source, re.MULTILINE)}
    assert checked == set(WRONG.get(name, {}))


def test_the_challenge_of_lab_02_accepts_a_smaller_file_and_no_other():
    cells = [cell.source for cell in notebooks.read(ANSWERS["02_strokes"]).cells if cell.cell_type == "code"]
    names = {"__name__": "__main__"}
    execute("imports", next(cell for cell in cells if cell.startswith("import ")), names)
    names["file"] = strokes.to_svg(zoo.load("strokes").drawing())
    execute("smaller", next(cell for cell in cells if "def smaller(" in cell), names)
    execute("judged", next(cell for cell in cells if "def judged(" in cell).replace("print(judged(smaller(file)))", ""), names)
    judged, file = names["judged"], names["file"]
    assert judged(names["smaller"](file)).startswith("✓")
    assert judged(file).startswith("✗") and judged(...).startswith("○")
    assert judged('<svg xmlns="http://www.w3.org/2000/svg" width="256" height="192"/>').startswith("✗")
