"""Timings count what they say; a scorecard shows answers beside the truth; schedules and optimisers that trainings share."""

import math
import time

import pytest
import torch
from torch import nn

from imggen_core.kit import timing
from imggen_core.kit.scorecard import scorecard
from imggen_core.kit.training import adamw, warm_cosine_factor


def test_the_fastest_call_counts():
    pauses = iter([0.05, 0.001, 0.05])
    assert 0.001 <= timing.fastest(lambda: time.sleep(next(pauses)), 3) < 0.04


def test_a_step_is_timed_in_both_ways_and_trains():
    made = []
    seconds = timing.step_seconds(
        lambda: made.append(nn.Conv2d(3, 4, 3)) or made[-1], torch.rand(2, 3, 8, 8), lambda y: y.square().mean(), 2
    )
    assert seconds.keys() == {"float32", "ours"} and all(value > 0 for value in seconds.values())
    assert len(made) == 2 and all(p.isfinite().all() for net in made for p in net.parameters())


def test_the_first_pass_over_the_data_does_not_count():
    passes = []

    class Slow:
        def __iter__(self):
            passes.append(1)
            for _ in range(4):
                time.sleep(0.05 if len(passes) == 1 else 0.002)
                yield 0

    assert 0.002 <= timing.batch_seconds(Slow(), 3) < 0.04 and len(passes) == 2


def test_a_scorecard_is_green_for_right_red_for_wrong_and_its_bars_reach_their_answers():
    right, wrong = (scorecard([("a goal", one)], {}) for one in (True, False))
    assert right.shape == (3, 192, 128) and 0 <= right.min() and right.max() <= 1
    assert (right[1] - right[0]).max() > 0.2 and (wrong[0] - wrong[1]).max() > 0.4
    blue = torch.tensor([0x4F, 0x7F, 0xA8]).view(3, 1, 1) / 255
    lengths = [((scorecard([], {"tone": (value, 0.0)}) - blue).abs().amax(0) < 0.01).any(0).sum().item() for value in (0.2, 0.8)]
    assert lengths[1] - lengths[0] == pytest.approx(0.6 * 112, abs=2)


def test_the_warm_cosine_rises_over_its_first_share_and_ends_at_nought():
    factors = [warm_cosine_factor(step, 100) for step in range(100)]
    assert factors[0] == pytest.approx(0.1) and factors[9] == 1 and max(factors) == 1 and factors[-1] < 0.001
    assert factors[55] == pytest.approx(0.5 + 0.5 * math.cos(math.pi / 2))
    assert warm_cosine_factor(0, 1) == 1, "a single step is a whole one"


def test_weight_decay_leaves_biases_and_normalisations_alone():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
    decayed, others = adamw(net, 1e-3).param_groups
    assert decayed["params"] == [net[0].weight] and decayed["weight_decay"] > 0
    assert len(others["params"]) == 3 and others["weight_decay"] == 0
