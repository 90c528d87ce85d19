"""Build every kind of 2D image generator by hand, on an ordinary laptop, in notebooks that export their own library.

Modules:

- `imggen_core.kit.cache`: Rows of a pure function of an index, kept as memory-mapped arrays: built once, whole or not at all, by one process at a time.
- `imggen_core.kit.cards`: Model cards: the words of each stand in `imggen_core/cards/NAME.md`; figures, criteria, controls and sizes are put in here.
- `imggen_core.kit.checks`: Exercise checks: they run the learner's function and say which property failed, on which input and by how much, with a hint.
- `imggen_core.kit.folder`: A run's folder: whose it is stands in its params.json, which is written, read and compared here and nowhere else; and its one writer.
- `imggen_core.kit.parameters`: What a training can be given: type, range, unit and meaning of each parameter stand in one place, the signature of `train`.
- `imggen_core.kit.processes`: Processes that end with the one that started them, however that one ends; and pools that share one machine's work.
- `imggen_core.kit.progress`: The one progress bar: a live line on a terminal and in Jupyter, elsewhere a plain line now and then.
- `imggen_core.kit.run`: `Run`: one training's folder, progress, history and saved state. Kill it at any moment, run it again, and it ends bit-identical.
- `imggen_core.kit.sampler`: The one interface of every generator: `controls` says what can be turned, `sample(n, seed, **controls)` gives pictures.
- `imggen_core.kit.samples`: The pictures of one generator as files: one sheet, a folder with a table, a ZIP, or one SVG.
- `imggen_core.kit.show`: Every figure of the course in one look: pictures large enough to see, curves with their names at their ends, tables.
- `imggen_core.kit.state`: The saved state of a run: a folder step-N with safetensors and JSON, written whole or not at all, and never unpickled.
- `imggen_core.kit.svg_cairo`: CairoSVG's side of `kit.svg`: measures and draws one SVG. Run as a script it is the child process that holds the limits.
- `imggen_core.tracing.outlines`: Filled paths: outlines of lines and quadratic curves, how much of each pixel they cover, and how that changes with their points.
- `imggen_core.worlds.scenes`: Game scenes: tile-map screenshots with exact labels, a pure function of (seed, index). A tile has a tenth of a scene's shorter side."""

import os

from .kit.settings import thread_environment

__version__ = "0.1.0"

os.environ |= thread_environment()  # before torch is imported

if os.environ.get("IMGGEN_COMMAND"):  # started by `imggen run` or `imggen train`: it ends with that command
    from .kit import processes

    processes.follow()
