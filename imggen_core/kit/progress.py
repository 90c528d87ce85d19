"""The one progress bar: a live line on a terminal and in Jupyter, elsewhere a plain line now and then.

What may take long counts itself in a `bar`; whoever started it decides whether that is seen. A training's bars are seen (`kit.run`); others
are where the command line says so, by `shown`.
"""

import contextlib
import sys
import threading
from collections.abc import Iterator

from . import settings

LINES_EVERY = 30.0  # seconds between two lines where there is no terminal

_shown = False


@contextlib.contextmanager
def shown(yes: bool = True) -> Iterator[None]:
    """Whether bars are seen meanwhile; outside of any `shown` they are not."""
    global _shown
    before, _shown = _shown, yes
    try:
        yield
    finally:
        _shown = before


@contextlib.contextmanager
def counted(total: int, label: str, initial: int = 0):
    """A `bar` that is seen if `shown` says so; what counts itself inside is part of this work, and stays silent."""
    with bar(total, label, initial, _shown) as one, shown(False):
        first = threading.Timer(getattr(one, "delay", 0), one.refresh)  # alone a bar waits for its first `update`, which may be far off
        first.daemon = True
        if not one.disable:
            first.start()
        try:
            yield one
        finally:
            first.cancel()


def bar(total: int | None, label: str, initial: int, visible: bool):
    """A bar with `update(n=1)`, now at `initial` of `total`, and the time left; it comes after a second, and is gone at the end."""
    if settings.headless():
        from tqdm import tqdm
    else:
        from tqdm.auto import tqdm
    common = {"total": total, "initial": initial, "desc": label, "disable": not visible, "leave": False}
    if settings.headless() and not sys.stderr.isatty():
        return tqdm(**common, delay=LINES_EVERY, mininterval=LINES_EVERY, miniters=1, ncols=80, file=Lines())
    return tqdm(**common, delay=1, mininterval=0.2)


class Lines:
    """Where a bar is written that cannot move: each of its states is a line of stderr."""

    def write(self, text: str) -> None:
        if text := text.replace("\x1b[A", "").strip():  # without what moves between bars, and wipes them away
            print(text, file=sys.stderr, flush=True)

    def flush(self) -> None:
        sys.stderr.flush()
