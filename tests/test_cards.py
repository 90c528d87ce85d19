"""A card's text gets its figures, criteria and facts; what it asks for and nobody gave is named; every text belongs to a chapter."""

import math
import re

import numpy as np
import pytest
import torch
from huggingface_hub import PyTorchModelHubMixin
from torch import nn

from imggen_core.kit import cards, settings
from imggen_core.kit.sampler import Choice, Slider


class Model(nn.Module, PyTorchModelHubMixin):
    """A model that was built with arguments and can be told something."""

    def __init__(self, width: int = 3):
        super().__init__()
        self.layer = nn.Linear(width, 2)
        goal = Choice("sale", ("sale", "news"), "what it is for")
        self.controls = {"truncation": Slider(1.0, 0.0, 1.0, 0.1, "how typical"), "goal": goal}


@pytest.fixture
def write(tmp_path, monkeypatch):
    monkeypatch.setattr(cards, "TEXTS", tmp_path)
    return lambda text: (tmp_path / "toy.md").write_text(text, encoding="utf-8")


FIGURES = {"fid": 12.3456, "pictures": 12000}
CRITERIA = {"fid": ("<=", 20), "pictures": (">=", 1e4)}


def test_every_kind_of_placeholder_is_filled(write):
    write("> Width {width}, {weights:,} weights, FID {fid:.1f}, {hours} h.\n\nTold: {controls}\n\n{figures}\n\nDone.")
    text = cards.card("toy", Model(4), FIGURES, CRITERIA, hours=2)
    assert text.startswith("# toy\n\n> Width 4, 10 weights, FID 12.3, 2 h.\n\nTold: `truncation` (how typical); `goal` (what it is for)\n")
    assert text.endswith("Done.\n") and text.count("| figure |") == 1


def test_a_fact_is_told_in_place_of_an_argument_of_the_same_name(write):
    write("{width}")
    assert "\n7\n" in cards.card("toy", Model(), {}, width=7)


def test_braces_can_be_written(write):
    write("```python\n{{'a': 1}}\n```")
    assert "{'a': 1}" in cards.card("toy", Model(), {})


def test_a_missing_fact_is_named_and_all_of_them_at_once(write):
    write("{width} {moon.phase} {stars[0]:.2f} {fid}")
    with pytest.raises(ValueError, match=r"^toy\.md: the card asks for moon, stars, which nobody gave$"):
        cards.card("toy", Model(), FIGURES)


def test_a_placeholder_in_the_form_of_another_is_asked_for_too(write):
    write("{fid:.{digits}f}")
    assert "12.35" in cards.card("toy", Model(), FIGURES, digits=2)
    with pytest.raises(ValueError, match="asks for digits, which"):
        cards.card("toy", Model(), FIGURES)


@pytest.mark.parametrize(
    "text, reason",
    [("{", "Single '{'"), ("{}", "name"), ("{0}", "name"), ("{fid:zz}", "format"), ("{width.x}", "attribute")],
)
def test_a_text_that_cannot_be_filled_is_named(write, text, reason):
    write(text)
    with pytest.raises(ValueError, match=rf"^toy\.md: .*{reason}"):
        cards.card("toy", Model(), FIGURES)


def test_a_chapter_without_a_text_is_named(write):
    with pytest.raises(ValueError, match=r"/nowhere\.md: there is no such text"):
        cards.card("nowhere", Model(), {})


def test_measured_figures_stand_beside_what_was_promised(write):
    write("words")
    text = cards.card("toy", Model(), FIGURES | {"extra": 0.5, "lost": math.nan, "none": None}, CRITERIA | {"unmeasured": (">=", 1)})
    assert text == (
        "# toy\n\nwords\n\n| figure | measured | promised |\n|---|---:|---:|\n| fid | 12.35 | <= 20 |\n| pictures | 12,000 | >= 10000 |\n"
        "| extra | 0.5 |  |\n| lost | – |  |\n| none | – |  |\n"
    )


def test_a_card_without_figures_has_no_table(write):
    write("words")
    assert cards.card("toy", Model(), {}) == "# toy\n\nwords\n"


@pytest.mark.parametrize(
    "value, text",
    [(0.123456, "0.1235"), (31.0, "31"), (1234567, "1,234,567"), (np.float32(0.25), "0.25"), (np.int64(1200), "1,200"),
     (torch.tensor(0.5), "0.5"), (math.nan, "–"), (np.float32("nan"), "–"), (torch.tensor(math.nan), "–"), (None, "–"), (True, "yes"),
     (False, "no"), (math.inf, "inf"), (1e-9, "1e-09")],
)  # fmt: skip
def test_numbers_of_every_kind(value, text):
    assert cards.number(value) == text


TEXTS = sorted(cards.TEXTS.glob("*.md"))


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.stem)
def test_every_text_is_a_chapters_and_can_be_read(path):
    assert path.stem in settings.chapters()
    notebook = settings.chapter(path.stem).notebook.read_text(encoding="utf-8")
    assert re.search(r"\.finish\(|cards\.card\(", notebook), "no training of the chapter ends with this card"
    text = path.read_text(encoding="utf-8")
    assert cards.placeholders(text) >= {"weights"} or "{" not in text or cards.placeholders(text)
    assert next(line for line in text.splitlines() if line.strip()).startswith("> "), "the first line says what the model is"
    assert not text.lstrip().startswith("#"), "the heading is the card's name"


def test_every_chapter_that_ends_with_a_card_has_its_text():
    ending = [c.name for c in settings.chapters().values() if c.ready and "run.finish(" in c.notebook.read_text(encoding="utf-8")]
    assert set(ending) <= {path.stem for path in TEXTS}
