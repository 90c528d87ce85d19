"""Chapter 04: labels are exact, scores respond as they should, the judge agrees, and the data set hands out what was drawn."""

import json
import os
import warnings
from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scipy import ndimage

from imggen_core import designs
from imggen_core.designs import SCORES, Box, Designs, compose, draw, grammar, judge, make_design
from imggen_core.kit.settings import ROOT, InputError, scale_parameters
from imggen_core.worlds.layouts import KNOBS

share = st.floats(0, 1)
named = {"goal": st.sampled_from(designs.GOALS), "format": st.sampled_from(designs.FORMATS)}
knobs = st.fixed_dictionaries({}, optional=named | dict.fromkeys(KNOBS, share))
boxes = st.lists(st.tuples(share, share, st.floats(0.02, 1), st.floats(0.02, 1)), min_size=2, max_size=7)


# ---- one design ------------------------------------------------------------------------------------------------------


@given(st.integers(0, 9), st.integers(0, 10**6), st.sampled_from([32, 48, (40, 72)]))
@settings(max_examples=25)
def test_a_design_is_a_function_of_seed_index_and_size(seed, index, size):
    one, other = make_design(seed, index, size), make_design(seed, index, size)
    assert (one.image == other.image).all() and (one.f_tensor == other.f_tensor).all() and (one.grammar == other.grammar).all()
    assert (one.goal, one.format, one.tone) == (other.goal, other.format, other.tone)


@given(st.integers(0, 10**6), knobs, st.sampled_from([32, 64, (40, 72)]))
@settings(max_examples=40)
def test_labels_are_what_they_promise(index, given, size):
    layout = compose(0, index, **given)
    image, f_tensor = draw(layout, size)
    sides = (size, size) if isinstance(size, int) else size
    text, picture, colour, weight = f_tensor
    assert image.shape == (*sides, 3) and image.dtype == np.uint8 and f_tensor.shape == (4, *sides) and f_tensor.dtype == np.float32
    assert set(np.unique([text, picture])) <= {0, 1} and not (text * picture).any()
    assert (colour % 1 == 0).all() and colour.min() >= 0 and colour.max() < len(designs.COLOURS)
    assert weight.min() >= 0 and weight.max() <= 1 and (weight[text + picture > 0] > 0).all()
    scores = grammar(layout)
    assert scores.dtype == np.float32 and np.isfinite(scores).all() and (scores >= 0).all() and (scores <= 1).all()
    assert all(getattr(layout, name, value) == value for name, value in given.items())


def test_colour_ids_name_the_colours_of_flat_places():
    design = make_design(0, 5, 256)
    named = design.layout.colours[design.f_tensor[2].astype(int)]
    flat = (design.f_tensor[1] == 0) & (np.abs(named - design.image / 255).max(2) < 0.02)
    assert flat.mean() > 0.8 * (design.f_tensor[1] == 0).mean()


def test_masks_cover_the_boxes_of_the_layout():
    for index in range(12):
        layout = compose(1, index)
        _, (text, picture, *_) = draw(layout, 256)
        lines = sum(box.lines()[:, 2:].prod(1).sum() for box in layout.boxes if box.kind in ("text", "shape"))
        solid = sum(box.w * box.h for box in layout.boxes if box.kind == "image")
        assert abs(text.mean() - lines) < 0.015 and abs(picture.mean() - solid) < 0.01


def test_boxes_neither_overlap_nor_leave_the_page():
    for index in range(300):
        layout = compose(0, index)
        x, y, w, h = layout.page
        for box in layout.boxes:
            assert x - 1e-9 <= box.x and box.x + box.w <= x + w + 1e-9 and y <= box.y and box.y + box.h <= y + h + 0.02
        for one, other in combinations(layout.boxes, 2):
            across = min(one.x + one.w, other.x + other.w) - max(one.x, other.x)
            down = min(one.y + one.h, other.y + other.h) - max(one.y, other.y)
            assert min(across, down) < 1e-6, (index, one.role, other.role)


def test_a_knob_changes_nothing_else_than_it_should():
    plain, calm = compose(0, 3), compose(0, 3, tone=0.0)
    assert plain.boxes != () and calm.tone == 0 and (plain.goal, plain.format) == (calm.goal, calm.format)
    assert np.array_equal(plain.colours, calm.colours)


@pytest.mark.parametrize("call", [
    lambda: make_design(0, 0, 31), lambda: make_design(0, 0, 64.0), lambda: make_design(0, 0, (64, 64, 3)), lambda: make_design(0, 0, "64"),
    lambda: make_design(0, 0, 10**6), lambda: make_design(-1, 0, 64), lambda: make_design(0, 1.5, 64), lambda: make_design(True, 0, 64),
    lambda: compose(0, 0, goal="promise"), lambda: compose(0, 0, format="flyer"), lambda: compose(0, 0, tone=1.5),
    lambda: compose(0, 0, air=float("nan")), lambda: compose(0, 0, order=1), lambda: compose(0, 0, air="much"),
])  # fmt: skip
def test_what_makes_no_sense_is_refused_in_one_line(call):
    with pytest.raises(InputError) as refusal:
        call()
    assert "\n" not in str(refusal.value)


# ---- drawing ---------------------------------------------------------------------------------------------------------


@given(st.floats(0, 12), st.floats(0.05, 8))
def test_the_cover_of_a_span_sums_to_its_length_and_is_what_fine_sampling_finds(start, length):
    cover = designs.coverage(start, length, 24)[0]
    assert abs(cover.sum() - length) < 1e-4 and cover.min() >= 0 and cover.max() <= 1
    samples = (np.arange(24 * 200) + 0.5) / 200
    inside = ((samples >= start) & (samples <= start + length)).reshape(24, 200).mean(1)
    assert np.abs(cover - inside).max() < 0.011


@given(st.floats(1, 3), st.floats(3, 20))
def test_edges_are_read_back_from_their_cover(start, length):
    cover = designs.coverage(start, length, 30)[0]
    inked = np.flatnonzero(cover > 0)
    first, last = designs.edges_of(cover[inked[0] - 1 : inked[-1] + 2])
    assert abs(inked[0] - 1 + first - start) < 1e-4 and abs(inked[0] - 1 + last - start - length) < 1e-4


@pytest.mark.parametrize("spoil", ["noise", "blur"])
def test_the_judge_stands_some_noise_and_blur(spoil):
    noise, truth, clean, spoilt = np.random.default_rng(0), [], [], []
    for index in range(60):
        design = designs.make_design(2, 900 + index, 64)
        image = design.image / 255
        changed = image + noise.normal(0, 0.03, image.shape) if spoil == "noise" else ndimage.gaussian_filter(image, (0.5, 0.5, 0))
        for scores, made in ((truth, design.grammar), (clean, designs.judge(design.image)), (spoilt, designs.judge(changed.clip(0, 1)))):
            scores.append(made)
    for scores, most in ((clean, 0.04), (spoilt, 0.08)):
        assert (np.abs(np.array(scores) - truth).mean(0) < most).all()


def test_ink_is_the_sum_of_its_spans():
    box = Box("text", "body", 0.8, 0.2, 0.1, 0.3, ink=0, line_height=0.04, widths=(1, 0.7), seed=1)
    ink, slow = designs.ink_of(box, 40, 60), np.zeros((40, 60))
    for line, x, w in designs.letters(box):
        y, h = box.lines()[int(line)][[1, 3]]
        slow += np.outer(designs.coverage(y * 40, h * 40, 40)[0], designs.coverage(x * 60, w * 60, 60)[0])
    assert np.allclose(ink, slow.clip(max=1), atol=1e-6)


# ---- the four scores -------------------------------------------------------------------------------------------------


def alignment_by_loops(boxes) -> float:
    total = weights = 0.0
    for (x, _, w, _), (a, _, b, _) in combinations(boxes, 2):
        apart = min(abs(x - a), abs(x + w / 2 - a - b / 2), abs(x + w - a - b))
        weight = (max(min(x + w, a + b) - max(x, a), 0) / max(w, b)) ** 2
        total, weights = total + weight * max(0, 1 - apart / 0.05), weights + weight
    return total / weights if weights > 1e-6 else 1.0


@given(boxes)
def test_alignment_is_what_loops_over_pairs_find(boxes):
    assert abs(designs.alignment(boxes) - alignment_by_loops(boxes)) < 1e-6


@given(boxes, st.floats(-1, 1), st.randoms())
def test_alignment_knows_neither_order_nor_place(boxes, away, random):
    moved = [(x + away, y + 0.3, w, h) for x, y, w, h in boxes]
    random.shuffle(moved)
    assert abs(designs.alignment(moved) - designs.alignment(boxes)) < 1e-6


def test_contrast_ratios_are_those_of_the_standard():
    grey = np.full(3, 0x77 / 255)
    assert abs(designs.contrast_ratio(np.ones(3), grey) - 4.48) < 0.005  # the well-known #777 on white, just below 4.5
    assert designs.contrast_ratio(np.ones(3), np.zeros(3)) == 21 and designs.contrast_ratio(grey, grey) == 1
    assert (np.diff(designs.luminance(designs.PALETTE / 255)) > 0).all() and len(set(designs.COLOURS)) == len(designs.COLOURS) == 16


def test_scores_at_known_places():
    assert designs.contrast([1, 3], [15, 1]) == 0.25 and designs.contrast([], []) == 0
    assert designs.whitespace(0.5, 1) == 0 and abs(designs.whitespace(0.15, 0.5) - 0.5) < 1e-9 and designs.whitespace(0, 1) == 1
    assert designs.hierarchy([0.04, 0.08]) == 0.5 and designs.hierarchy([0.1]) == 0 and designs.hierarchy([0.04, 0.4, 0.04]) == 1
    assert designs.alignment([]) == designs.alignment([(0, 0, 1, 1)]) == 1


def test_scores_are_spread_over_most_of_their_range():
    scores = np.array([grammar(compose(0, index)) for index in range(400)])
    low, high = np.quantile(scores, (0.05, 0.95), axis=0)
    assert (high - low > 0.6).all(), dict(zip(SCORES, high - low, strict=True))


@pytest.mark.parametrize("score, knob, sign", [(0, "disorder", -1), (1, "legibility", 1), (2, "air", 1), (3, "scale", 1)])
def test_a_knob_moves_its_score(score, knob, sign):
    low, high = (np.mean([grammar(compose(1, index, **{knob: level}))[score] for index in range(40)]) for level in (0.1, 0.7))
    assert sign * (high - low) > 0.2


NEAT = {"goal": "sell", "format": "poster", "disorder": 0, "air": 0.4, "scale": 0.8, "legibility": 0.9}


@pytest.mark.parametrize("index", [3, 8])
def test_a_nudge_costs_alignment_and_nothing_else_and_the_judge_sees_it(index):
    neat = compose(0, index, **NEAT)
    before, seen = grammar(neat), judge(draw(neat, 96)[0])
    for number in range(len(neat.boxes)):
        pushed = neat.nudge(number, dx=0.045)
        after = grammar(pushed)
        assert after[0] < before[0] - 0.1 and (after[1:] == before[1:]).all()
        assert judge(draw(pushed, 96)[0])[0] < seen[0] - 0.08
        assert pushed.nudge(number, dx=-0.045).boxes[number].x == pytest.approx(neat.boxes[number].x)


def test_a_nudge_below_a_pixel_changes_the_picture():
    neat = compose(0, 3, **NEAT)
    before, after = (draw(layout, 64)[0].astype(int) for layout in (neat, neat.nudge(1, dx=0.002)))
    assert np.abs(before - after).max() > 5


# ---- the judge -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size, least", [(64, 0.93), (128, 0.97), ((80, 112), 0.93)])
def test_the_judge_agrees_with_the_formulas(size, least):
    held_out = [compose(1, index) for index in range(60)]
    truth = np.array([grammar(layout) for layout in held_out])
    rows = designs.agreement(truth, np.array([judge(draw(layout, size)[0]) for layout in held_out]))
    assert all(row["R2"] > least and row["MAE"] < 0.05 for row in rows), rows


def test_agreement_is_r_squared_and_mean_absolute_error():
    truth = np.random.default_rng(0).random((50, 4))
    assert all(row["R2"] == 1 and row["MAE"] == 0 for row in designs.agreement(truth, truth))
    assert all(abs(row["R2"]) < 1e-9 for row in designs.agreement(truth, np.broadcast_to(truth.mean(0), truth.shape)))


def test_the_judge_takes_a_picture_in_any_form(tmp_path):
    image = make_design(0, 2, 64).image
    path = tmp_path / "design.png"
    Image.fromarray(image).save(path)
    opaque = np.dstack([image, np.full((64, 64), 255, np.uint8)])
    forms = [torch.from_numpy(image).permute(2, 0, 1).float() / 255, (image / 255).transpose(2, 0, 1), image / 255,
             Image.fromarray(image), Image.fromarray(opaque), opaque, path, str(path)]  # fmt: skip
    for form in forms:
        assert np.allclose(judge(form), judge(image), atol=1e-4)
    grey = judge(image.mean(2) / 255)
    assert grey.shape == (4,) and np.isfinite(grey).all()


@given(st.integers(0, 10**6), st.sampled_from(["noise", "constant", "coarse", "grey"]), st.sampled_from([32, 45]))
@settings(max_examples=30)
def test_the_judge_gives_numbers_without_warnings_for_what_is_no_design(seed, kind, side):
    rng = np.random.default_rng(seed)
    image = {"noise": lambda: rng.integers(0, 256, (side, side, 3), np.uint8), "grey": lambda: rng.random((side, side)),
             "constant": lambda: np.full((side, side, 3), rng.integers(256), np.uint8),
             "coarse": lambda: rng.random((side // 4 + 1, side // 4 + 1, 3)).repeat(4, 0).repeat(4, 1)}[kind]()  # fmt: skip
    with warnings.catch_warnings(action="error"):
        scores = judge(image)
    assert scores.dtype == np.float32 and np.isfinite(scores).all() and (scores >= 0).all() and (scores <= 1).all()


def test_the_judge_refuses_what_is_no_picture_in_one_line(tmp_path):
    Image.fromarray(make_design(0, 0, 64).image).save(tmp_path / "cut.png")
    (tmp_path / "cut.png").write_bytes((tmp_path / "cut.png").read_bytes()[:200])
    wrong = [np.zeros((8, 8, 3), np.uint8), np.zeros((64, 64, 2)), np.zeros(5), np.full((64, 64, 3), np.nan), np.zeros((2, 3, 64, 64)),
             np.zeros((64, 64, 3), np.int64), np.full((64, 64, 3), 255.0), np.full((3, 64, 64), -1.0),
             tmp_path / "cut.png", tmp_path / "none.png", "design", None]  # fmt: skip
    for each in wrong:
        with pytest.raises(InputError) as refusal:
            judge(each)
        assert "\n" not in str(refusal.value)


# ---- the data set ----------------------------------------------------------------------------------------------------


def test_splits_share_no_design():
    drawn = {split: {compose(seed, index).boxes for index in range(200)} for split, seed in designs.SPLITS.items()}
    assert len(set.union(*drawn.values())) == 600 and len(set(designs.SPLITS.values())) == 3


def equal(batch, other) -> bool:
    return (torch.equal(batch[0], other[0]) and torch.equal(batch[1], other[1]) and batch[2].keys() == other[2].keys()
            and all(torch.equal(batch[2][name], other[2][name]) for name in batch[2]))  # fmt: skip


def test_an_item_is_the_design(tmp_path):
    data = Designs("valid", (32, 40), 3, tmp_path)
    design = make_design(1, 2, (32, 40))
    image, f_tensor, meta = data[2]
    assert len(data) == 3 and image.dtype == f_tensor.dtype == torch.float32
    assert np.array_equal((image * 255).round().permute(1, 2, 0).numpy(), design.image)
    assert np.array_equal(f_tensor.numpy(), design.f_tensor)
    assert designs.GOALS[meta["goal"]] == design.goal and designs.FORMATS[meta["format"]] == design.format
    assert meta["goal"].dtype == torch.int64 and meta["tone"] == np.float32(design.tone)
    assert np.array_equal(meta["grammar"].numpy(), design.grammar)


def test_batches_are_the_items_stacked(tmp_path):
    data = Designs("test", 32, 10, tmp_path)
    batches = list(designs.loader(data, 4, shuffle=False))
    assert [len(batch[0]) for batch in batches] == [4, 4, 2]
    for index in range(10):
        image, f_tensor, meta = batches[index // 4]
        row = index % 4
        assert equal((image[row], f_tensor[row], {name: value[row] for name, value in meta.items()}), data[index])
    shuffled = [designs.loader(data, 4, generator=torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    orders = [[batch[2]["tone"].tolist() for batch in batches] for batches in shuffled]
    assert orders[0] == orders[1] != orders[2] and [len(batch) for batch in orders[0]] == [4, 4]
    assert [len(batch[0]) for batch in designs.loader(data, 32)] == [10]


def test_goals_can_be_left_out(tmp_path):
    data = Designs("train", 32, 40, tmp_path)
    known, unseen = data.of("sell", "announce", "inform"), data.of("showcase")
    assert len(known) + len(unseen) == 40 and set(unseen[list(range(len(unseen)))][2]["goal"].tolist()) == {3}
    assert set(known[list(range(len(known)))][2]["goal"].tolist()) == {0, 1, 2}
    with pytest.raises(InputError, match="sale"):
        data.of("sale")


SENSELESS = [{"split": "dev"}, {"n": 0}, {"n": -3}, {"n": 2.5}, {"n": True}, {"size": 16}, {"size": "big"}, {"size": (64,)}]


@pytest.mark.parametrize("given", SENSELESS)
def test_a_data_set_that_makes_no_sense_is_refused_in_one_line(given, tmp_path):
    with pytest.raises(InputError) as refusal:
        Designs(**{"n": 2, "size": 32, "root": tmp_path} | given)
    assert "\n" not in str(refusal.value)


# ---- the cache -------------------------------------------------------------------------------------------------------


@pytest.fixture
def counted(monkeypatch):
    """The indices that are drawn while the cache is built."""
    drawn = []
    original = designs.packed
    monkeypatch.setattr(designs, "packed", lambda design: drawn.append((design.layout.index, design.image.shape[0])) or original(design))
    return lambda size: [index for index, side in drawn if side == size]


def test_what_is_in_the_cache_is_not_drawn_again(tmp_path, counted):
    first = Designs("train", 32, 6, tmp_path)
    assert counted(32) == [*range(6), 5]  # the last one once more, to compare
    again = Designs("train", 32, 4, tmp_path)
    assert counted(32) == [*range(6), 5, 5] and equal(first[[0, 3]], again[[0, 3]]) and len(again) == 4
    more = Designs("train", 32, 8, tmp_path)
    assert counted(32)[8:] == [5, 6, 7, 7] and equal(more[list(range(6))], first[list(range(6))])


def test_a_world_that_draws_otherwise_is_drawn_again(tmp_path, monkeypatch, capsys):
    before = Designs("train", 32, 3, tmp_path)[[0, 1, 2]]
    monkeypatch.setattr(designs, "BOARD", designs.INK)
    after = Designs("train", 32, 3, tmp_path)[[0, 1, 2]]
    said = capsys.readouterr().out.strip().splitlines()
    assert not equal(before, after) and len(said) == 1 and "train-32x32 was written by another version of the designs" in said[0]


def test_a_cache_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "designs").write_text("a file where the folder should be")
    with pytest.raises(InputError, match="cannot be written") as refusal:
        Designs("train", 32, 2, tmp_path)
    assert "\n" not in str(refusal.value)


# ---- plain files -----------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    designs.write_folder((make_design(0, index, 32) for index in range(6)), tmp_path / "folder")
    return tmp_path / "folder"


def test_a_folder_reads_as_it_was_written(folder, tmp_path, capsys):
    data, cached = designs.DesignFolder(folder), Designs("train", 32, 6, tmp_path)
    assert len(data) == 6 and all(equal(data[index], cached[index]) for index in range(6)) and equal(data[[4, 1]], cached[[4, 1]])
    assert len(next(iter(designs.loader(data, 4)))[0]) == 4 and capsys.readouterr().out == ""
    assert json.loads((folder / "metadata/000003.json").read_text())["goal"] == make_design(0, 3, 32).goal
    assert np.load(folder / "images/000003.npy").shape == (3, 32, 32) and np.load(folder / "f_tensors/000003.npy").dtype == np.float32


def cut(path):
    path.write_bytes(path.read_bytes()[:-100])


def cut_text(path):
    path.write_text(path.read_text()[:9])


class Trap:
    def __reduce__(self):
        return os.mkdir, ("trapped",)


DAMAGE = {
    "image cut": lambda folder: cut(folder / "images/000002.npy"), "no mask": lambda folder: (folder / "f_tensors/000002.npy").unlink(),
    "mask of another size": lambda folder: np.save(folder / "f_tensors/000002.npy", np.zeros((4, 32, 40), np.float32)),
    "grey image": lambda folder: np.save(folder / "images/000002.npy", np.zeros((32, 32), np.uint8)),
    "16 bits": lambda folder: np.save(folder / "images/000002.npy", np.zeros((3, 32, 32), np.uint16)),
    "pickled": lambda folder: np.save(folder / "images/000002.npy", np.array([Trap()]), allow_pickle=True),
    "no such colour": lambda folder: np.save(folder / "f_tensors/000002.npy", np.full((4, 32, 32), 77, np.float32)),
    "NaN": lambda folder: np.save(folder / "f_tensors/000002.npy", np.full((4, 32, 32), np.nan, np.float32)),
    "no such goal": lambda folder: (folder / "metadata/000002.json").write_text('{"goal": "win"}'),
    "half a text": lambda folder: cut_text(folder / "metadata/000002.json"),
    "a list": lambda folder: (folder / "metadata/000002.json").write_text("[]"),
    "another size": lambda folder: [np.save(folder / part / "000002.npy", np.zeros((n, 64, 64), kind))
                                    for part, n, kind in (("images", 3, np.uint8), ("f_tensors", 4, np.float32))],
    "an npz": lambda folder: np.savez((folder / "images/000002.npy").open("wb"), x=np.zeros(3)),
    "a header of a huge shape": lambda folder: (folder / "images/000002.npy").write_bytes(header((3, 10**6, 10**6)) + bytes(99)),
    "a huge file without content": lambda folder: sparse(folder),
    "a header that is no literal": lambda folder: (folder / "images/000002.npy").write_bytes(header("(" * 5000)),
    "texts for numbers": lambda folder: np.save(folder / "f_tensors/000002.npy", np.full((4, 32, 32), "0")),
    "deep metadata": lambda folder: (folder / "metadata/000002.json").write_text("[" * 5000 + "]" * 5000),
    "deeper metadata": lambda folder: (folder / "metadata/000002.json").write_text("[" * 500_000 + "]" * 500_000),
    "a number of 400 digits": lambda folder: replace_text(folder / "metadata/000002.json", '"tone": ', '"tone": 1' + "0" * 400),
    "a folder": lambda folder: [(folder / "metadata/000002.json").unlink(), (folder / "metadata/000002.json").mkdir()],
    "a pipe": lambda folder: [(folder / "metadata/000002.json").unlink(), os.mkfifo(folder / "metadata/000002.json")],
    "a link out of the folder": lambda folder: linked_out(folder / "f_tensors/000002.npy"),
}  # fmt: skip


def header(shape) -> bytes:
    """The beginning of a .npy of bytes that promises `shape`."""
    text = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def sparse(folder):
    for part, channels in (("images", 3), ("f_tensors", 4)):
        with open(folder / part / "000002.npy", "wb") as file:
            file.write(header((channels, 30_000, 30_000)))
            file.truncate(file.tell() + channels * 30_000**2)


def replace_text(file, old, new):
    file.write_text(file.read_text().replace(old, new))


def linked_out(file):
    file.rename(file.parents[2] / "elsewhere.npy")
    file.symlink_to(file.parents[2] / "elsewhere.npy")


@pytest.mark.parametrize("what", DAMAGE)
def test_what_cannot_be_read_is_skipped_and_counted_in_one_line(what, folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    DAMAGE[what](folder)
    with warnings.catch_warnings(action="error"):
        data = designs.DesignFolder(folder)
    said = capsys.readouterr().out.strip().splitlines()
    assert len(data) == 5 and len(said) == 1 and "1 of 6" in said[0]
    assert not (folder / "trapped").exists(), "nothing may be unpickled"
    assert np.array_equal((data[2][0] * 255).round().permute(1, 2, 0).numpy(), make_design(0, 3, 32).image)


def test_a_folder_without_designs_is_refused_in_one_line(tmp_path, folder, capsys):
    (tmp_path / "empty/images").mkdir(parents=True)
    for index in range(6):
        (folder / f"metadata/{index:06d}.json").unlink()
    for path in (tmp_path / "nowhere", tmp_path, tmp_path / "empty", folder):
        with pytest.raises(InputError) as refusal:
            designs.DesignFolder(path)
        assert "\n" not in str(refusal.value) and str(path) in str(refusal.value)


def test_designs_are_written_through_no_link(tmp_path):
    (tmp_path / "mine.npy").write_text("mine")
    (tmp_path / "folder/images").mkdir(parents=True)
    (tmp_path / "folder/images/000000.npy").symlink_to(tmp_path / "mine.npy")
    with pytest.raises(InputError, match="is a link that leads out of the folder"):
        designs.write_folder([make_design(0, 0, 32)], tmp_path / "folder")
    assert (tmp_path / "mine.npy").read_text() == "mine"


# ---- sliders ---------------------------------------------------------------------------------------------------------


def test_the_world_keeps_the_promises_of_a_sampler():
    world = designs.DesignWorld(48)
    few, many = (world.sample(n, 3) for n in (1, 3))
    assert many.shape == (3, 3, 48, 48) and torch.equal(few, many[:1]) and 0 <= many.min() and many.max() <= 1
    plain = world.sample(1, 3, layer="picture")
    for layer in designs.LAYERS[1:]:
        assert not torch.equal(world.sample(1, 3, goal="inform", format="poster", layer=layer), plain)
    neat, untidy = (world.layout(3, goal="announce", disorder=disorder) for disorder in (0.0, 1.0))
    assert neat.goal == "announce" and grammar(untidy)[0] < grammar(neat)[0]
    with pytest.raises(InputError, match="disorder"):
        world.sample(1, 0, disorder=2)


def test_the_report_tells_the_scores():
    figure = designs.DesignWorld(64).report(3, disorder=0.0)
    title = " ".join(text.get_text() for text in figure.texts)
    assert all(name in title for name in SCORES) and f"{grammar(designs.DesignWorld(64).layout(3, disorder=0.0))[0]:.2f}" in title


# ---- the chapter, as CI runs it --------------------------------------------------------------------------------------


def test_the_smoke_run_leaves_what_it_measured(smoke):
    results = json.loads((smoke(ROOT / "nbs/04_designs.ipynb") / "results.json").read_text())
    small = scale_parameters("designs", "smoke")
    assert set(results["judge"]) == {"64", str(small["large"])}
    assert all(row["R2"] > 0.8 for rows in results["judge"].values() for row in rows)
    assert 0 < results["waiting_share"]["cached, later passes"] < 1
