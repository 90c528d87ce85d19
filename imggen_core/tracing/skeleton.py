"""From a mask of ink to chains of points: thin it, cut it at junctions into arcs, and pair the arcs that go straight on.

A skeleton is a graph: pixels with three or more neighbours are junctions, what lies between them is an arc. (Zhang and Suen 1984.)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.measure import label
from skimage.morphology import skeletonize
from torch import Tensor

from .curves import angle
from .ink import at_pixels
from .regions import EIGHT


def arrival(path: np.ndarray) -> np.ndarray:
    """Unit direction in which a path arrives at its first point, seen from a little way in."""
    v = (path[min(1, len(path) - 1)] - path[min(9, len(path) - 1)]).astype(float)
    return v / (np.linalg.norm(v) + 1e-9)


def walk(pixels: np.ndarray) -> np.ndarray:
    """The pixels [n,2] of a thin path, in order."""
    left = set(map(tuple, pixels.tolist()))
    around = [(0, 1), (1, 0), (0, -1), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)]
    beside = lambda p: [(p[0] + a, p[1] + b) for a, b in around if (p[0] + a, p[1] + b) in left]
    path = [min(left, key=lambda p: (len(beside(p)), p))]
    left.remove(path[0])
    while nearby := beside(path[-1]):
        path.append(nearby[0])
        left.remove(nearby[0])
    return np.array(path)


def junctions_at(junction: np.ndarray, path: np.ndarray) -> list[int]:
    """The junction (0: none) at either end of an arc."""
    near = [sorted(set(junction[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].ravel().tolist()) - {0}) for y, x in (path[0], path[-1])]
    first = near[0][0] if near[0] else 0
    last = [j for j in near[1] if j != first] if len(path) == 1 or len(near[1]) > 1 else near[1]
    return [first, last[0] if last else 0]


def arcs_of(skeleton: np.ndarray) -> tuple[list[tuple[np.ndarray, list[int]]], np.ndarray]:
    """Arcs of a skeleton as (pixels [n,2], [junction at the start, at the end]), and the labelled junctions.

    Thinning leaves short spurs at corners: those under 4 pixels are cut off, and the rest is thinned again.
    """
    for _ in range(3):
        knots = skeleton & (ndimage.convolve(skeleton.astype(int), EIGHT, mode="constant") > 3)
        junction, pieces = label(knots, connectivity=2), label(skeleton & ~knots, connectivity=2)
        paths = [walk(np.argwhere(pieces[box] == n) + [s.start for s in box]) for n, box in enumerate(ndimage.find_objects(pieces), 1)]
        arcs = [(path, junctions_at(junction, path)) for path in paths]
        spurs = [path for path, (a, b) in arcs if (a == 0) != (b == 0) and len(path) < 4]
        if not spurs:
            break
        for path in spurs:
            skeleton[tuple(path.T)] = False
        skeleton = skeletonize(skeleton)
    return arcs, junction


def bridged_junctions(arcs: list, junction: np.ndarray, bridge: int = 7) -> tuple[list, dict[int, np.ndarray]]:
    """The arcs without bridges (under `bridge` pixels, between two junctions), their junctions renamed, and where each junction is.

    Two strokes that cross at a shallow angle share a bit of skeleton, so that one crossing looks like two junctions with a bridge.
    """
    name = list(range(junction.max() + 1))
    for path, (a, b) in arcs:
        if a and b and a != b and len(path) < bridge:
            name = [name[a] if n == name[b] else n for n in name]
    kept = [(path, [name[a], name[b]]) for path, (a, b) in arcs if not (a and b and a != b and len(path) < bridge)]
    where = {n: np.argwhere(np.isin(junction, [j for j in range(1, len(name)) if name[j] == n])).mean(0) for n in set(name[1:])}
    return kept, where


def partners(arcs: list, largest_turn: float = 0.6) -> dict[tuple[int, int], tuple[int, int]]:
    """(arc, end) → (arc, end) that goes straight on through their junction; the best pairs first."""
    ends, out = {}, {}
    for n, (path, junctions) in enumerate(arcs):
        for e in (0, 1):
            if junctions[e] and len(path) > 1:
                ends.setdefault(junctions[e], []).append((n, e, path[:: 1 if e == 0 else -1]))
    for here in ends.values():
        options = []
        for n, (a, e, p) in enumerate(here):
            for b, f, q in here[n + 1 :]:
                turn, gap = angle(-arrival(p), arrival(q)), np.linalg.norm(q[0] - p[0])
                aim = angle((q[0] - p[0]) / gap, arrival(p)) if gap > 3 else 0
                if turn < largest_turn:
                    options.append((turn + 0.5 * aim, (a, e), (b, f)))
        for _, end, other in sorted(options):
            if end not in out and other not in out:
                out[end], out[other] = other, end
    return out


@dataclass
class Chain:
    """Ordered points [n,2] (x, y) along the middle of a stroke; its colour [3] or None; closed or not."""

    points: np.ndarray
    closed: bool
    colour: Tensor | None


def way_through(n: int, mate: dict) -> tuple[list[tuple[int, int]], bool]:
    """The (arc, end where it is entered) of the chain through arc n, in order; and whether it comes back to where it starts."""
    arc, end, seen = n, 0, {n}
    while (arc, end) in mate and mate[arc, end][0] not in seen:  # back to where the chain starts
        arc, end = mate[arc, end][0], 1 - mate[arc, end][1]
        seen.add(arc)
    way = [(arc, end)]
    while (arc, 1 - end) in mate and mate[arc, 1 - end][0] not in {a for a, _ in way}:
        arc, end = mate[arc, 1 - end]
        way.append((arc, end))
    return way, (arc, 1 - end) in mate


def chains_in(mask: np.ndarray, colour: Tensor | None) -> list[Chain]:
    """The smooth chains through a mask of ink."""
    arcs, where = bridged_junctions(*arcs_of(skeletonize(mask)))
    mate, done, out = partners(arcs), set(), []
    for n in range(len(arcs)):
        if n in done:
            continue
        way, closed = way_through(n, mate)
        done |= {arc for arc, _ in way}
        p = np.concatenate([arcs[arc][0][:: 1 if end == 0 else -1] for arc, end in way]).astype(float)
        closed |= len(p) > 8 and np.abs(p[0] - p[-1]).max() <= 2
        if not closed:
            head, tail = arcs[way[0][0]][1][way[0][1]], arcs[way[-1][0]][1][1 - way[-1][1]]
            p = np.concatenate([[where[head]] if head else p[:0], p, [where[tail]] if tail else p[:0]])
        out.append(Chain(p[:, ::-1] + 0.5, closed, colour))
    return out


def bridge_cost(p: np.ndarray, q: np.ndarray, image: np.ndarray, canvas: np.ndarray, longest: float = 60) -> float | None:
    """How badly the start of path p points at the start of path q (None: not at all, or across bare canvas)."""
    gap = q[0] - p[0]
    size = np.linalg.norm(gap)
    if not 1 <= size <= longest:
        return None
    aim = max(angle(arrival(p), gap / size), angle(arrival(q), -gap / size))
    if aim > (0.5 if size < 12 else 0.25):
        return None
    between = p[0] + gap * np.linspace(0, 1, int(size) + 2)[1:-1, None]
    bare = np.abs(at_pixels(image, between) - at_pixels(canvas, p[min(3, len(p) - 1)][None])).max(0) < 0.03
    return None if size > 3 and bare.mean() > 0.2 else aim + size / 100


def join_chains(chains: list[Chain], image: np.ndarray, canvas: np.ndarray) -> list[Chain]:
    """Chains with the gaps bridged, the best first: two of one colour that point at each other across anything but bare paper are one."""
    while True:
        tips = [(n, c.points[::step]) for n, c in enumerate(chains) if not c.closed and len(c.points) >= 5 for step in (1, -1)]
        best = None
        for k, (n, p) in enumerate(tips):
            for m, q in tips[k + 1 :]:
                if n != m and chains[n].colour is not None and chains[m].colour is chains[n].colour:
                    cost = bridge_cost(p, q, image, canvas)
                    if cost is not None and (best is None or cost < best[0]):
                        best = cost, n, m, np.concatenate([p[::-1], np.linspace(p[0], q[0], int(np.linalg.norm(q[0] - p[0])) + 2)[1:-1], q])
        if best is None:
            return chains
        _, n, m, points = best
        chains = [c for k, c in enumerate(chains) if k not in (n, m)] + [Chain(points, False, chains[n].colour)]
