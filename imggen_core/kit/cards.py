"""Model cards: the words of each stand in `imggen_core/cards/NAME.md`; figures, criteria, controls and sizes are put in here.

A card's text may name, in braces, any figure, any fact that the training hands over, any argument the model was built with, `weights` (how
many numbers it learnt), `figures` (the table of what was measured beside what was promised) and `controls` (what `sample` can be told).
"""

import math
import re
import string
from collections.abc import Mapping, Sequence
from pathlib import Path

TEXTS = Path(__file__).resolve().parents[1] / "cards"


def card(name: str, model, figures: Mapping[str, float], criteria: Mapping[str, tuple[str, float]] | None = None, **facts) -> str:
    """The card of `model` in Markdown, by the text of cards/NAME.md; ValueError names what the text asks for and nobody gave.

    figures: what was measured, as `evaluate` returns it; criteria: {figure: (">=" or "<=", bound)}; facts: what else the text names.
    """
    path = TEXTS / f"{name}.md"
    if not path.is_file():
        raise ValueError(f"{path.parent.name}/{path.name}: there is no such text — write what the card says")
    text = path.read_text(encoding="utf-8").strip()
    known = dict(getattr(model, "_hub_mixin_config", None) or {}) | dict(figures) | facts
    known |= {"weights": sum(p.numel() for p in model.parameters()), "figures": table(figures, criteria or {}), "controls": controls(model)}
    try:
        asked = placeholders(text)
        if missing := sorted(asked - known.keys()):
            raise ValueError(f"the card asks for {', '.join(missing)}, which nobody gave")
        if "figures" not in asked and figures:
            text += "\n\n{figures}"
        return f"# {name}\n\n{text.format_map(known)}\n"
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise ValueError(f"{path.name}: {error}") from None


def placeholders(text: str) -> set[str]:
    """The names that `text` asks for in braces; ValueError where the braces do not name anything."""
    asked = set()
    for _, field, form, _ in string.Formatter().parse(text):
        if field is not None:
            name = re.split(r"[.\[]", field)[0]
            if not name.isidentifier():
                raise ValueError(f"{{{field}}} is no name — write {{{{ and }}}} for braces that are meant")
            asked |= {name} | placeholders(form)
    return asked


def table(figures: Mapping[str, float], criteria: Mapping[str, tuple[str, float]]) -> str:
    """What was measured beside what was promised, a Markdown table."""
    rows = [f"| {name} | {number(value)} | {promised(criteria.get(name))} |" for name, value in figures.items()]
    return "\n".join(["| figure | measured | promised |", "|---|---:|---:|", *rows])


def rows(given: Sequence[Mapping]) -> str:
    """Rows {column: value}, all of the same columns, as a Markdown table."""
    lines = ["| " + " | ".join(text) + " |" for text in ([*given[0]], *([number(value) for value in row.values()] for row in given))]
    return "\n".join([lines[0], "|" + "---:|" * len(given[0]), *lines[1:]])


def promised(criterion: tuple[str, float] | None) -> str:
    return f"{criterion[0]} {criterion[1]:g}" if criterion else ""


def number(value) -> str:
    """A figure (a number of Python, NumPy or PyTorch) with four telling digits; – for what was not measured."""
    value = value.item() if hasattr(value, "item") else value
    if value is None or isinstance(value, float) and math.isnan(value):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def controls(model) -> str:
    """`name` (its meaning) of everything that `sample` can be told."""
    return "; ".join(f"`{name}` ({control.meaning})" for name, control in getattr(model, "controls", {}).items())
