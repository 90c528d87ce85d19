"""Draws data/fox.gif: a drawing that is no line art being fitted, patch by patch and step by step. `python tools/film.py` takes a minute."""

import torch

from imggen_core.kit import images, targets
from imggen_core.kit.settings import DATA
from imggen_core.strokes import SOLVER, render
from imggen_core.tracing import contours, knots, outlines
from imggen_core.tracing.document import cairo, to_svg
from imggen_core.tracing.drawing import blank, pick
from imggen_core.tracing.patches import patches_of
from imggen_core.tracing.regions import background_of
from imggen_core.tracing.tiles import Target

SCALE, STILL, COLOURS = 2, 12, 32  # pixels for one of the target's; frames that the end stays; in the palette

torch.set_num_threads(1)
target = Target(targets.target(DATA / "fox.svg", 112))
empty = blank(target.width, target.height, background_of(target.image))
rough = contours.with_patches(empty, patches_of(target.image, empty.background), render)
film, d = [pick(rough, slice(0, k)) for k in range(len(rough) + 1)], rough
for _ in range(8):
    film.append(d := outlines.refine_outlines(d, target, SOLVER, steps=1))
film.append(knots.adapt(d, target, SOLVER))
frames = [images.to_pil(cairo(to_svg(d), SCALE)).quantize(COLOURS) for d in film]
frames += frames[-1:] * STILL
frames[0].save(DATA / "fox.gif", save_all=True, append_images=frames[1:], duration=160, loop=0, optimize=True)
