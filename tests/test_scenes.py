"""Game scenes are pure functions with exact labels, at any size."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from imggen_core.kit.settings import InputError
from imggen_core.worlds import scenes


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**31), st.integers(0, 10**6), st.one_of(st.integers(16, 130), st.tuples(st.integers(16, 90), st.integers(16, 90))))
def test_a_scene_is_a_pure_function_of_seed_and_index_at_any_size(seed, index, size):
    image, labels = scenes.make_scene(seed, index, size)
    assert image.shape == (*scenes.checked_size(size), 3) and labels.shape == image.shape[:2]
    assert image.dtype == labels.dtype == np.uint8 and labels.max() < len(scenes.TEXTURES)
    np.random.seed(0)
    again = scenes.make_scene(seed, index, size)
    assert np.array_equal(image, again[0]) and np.array_equal(labels, again[1])
    assert not np.array_equal(image, scenes.make_scene(seed, index + 1, size)[0])


def test_a_scene_holds_a_few_textures_in_regions():
    for index in range(40):
        labels = scenes.make_scene(1, index, 96)[1]
        textures = np.unique(labels)
        assert 2 <= len(textures) <= 5 and textures.min() < scenes.NATURAL
        assert (labels[1:] == labels[:-1]).mean() > 0.93, "regions, not noise"
    everything = np.concatenate([scenes.make_scene(1, index, 64)[1].ravel() for index in range(40)])
    assert np.bincount(everything, minlength=8).min() / len(everything) > 0.03, "no texture is rare"


def test_labels_are_of_the_ground_and_follow_the_picture():
    """Inside of a texture colours are steady over tiles, across a border they are not: the labels' borders lie where colours change."""
    for index in range(5):
        image, labels = scenes.make_scene(2, index, 160)
        smooth = torch.nn.functional.avg_pool2d(torch.from_numpy(image).permute(2, 0, 1)[None].float(), 5, 1, 2)[0]
        change = (smooth[:, :, 6:] - smooth[:, :, :-6]).abs().sum(0)
        border = torch.from_numpy(labels[:, 6:] != labels[:, :-6])
        assert change[border].mean() > 1.3 * change[~border].mean()


def test_splits_never_overlap_and_batches_are_the_items():
    sets = {split: scenes.Scenes(split, 32, 5) for split in scenes.SPLITS}
    flat = torch.cat([data.images.flatten(1) for data in sets.values()])
    assert len(flat.unique(dim=0)) == 15
    images, labels = sets["valid"].batch([3, 1])
    one, its_labels = sets["valid"][1]
    assert torch.equal(images[1], one) and torch.equal(labels[1], its_labels)
    assert images.shape == (2, 3, 32, 32) and images.dtype == torch.float32 and images.max() <= 1 and labels.dtype == torch.int64


@pytest.mark.parametrize("size", [8, (64, 5000), 64.5, "64", (64, 64, 3), True])
def test_sizes_that_cannot_be_get_one_line(size):
    with pytest.raises(InputError, match="size=") as error:
        scenes.make_scene(0, 0, size)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("split, n", [("all", 2), ("test", 0), ("test", 2.5)])
def test_data_sets_that_cannot_be_get_one_line(split, n):
    with pytest.raises(InputError) as error:
        scenes.Scenes(split, 32, n)
    assert "\n" not in str(error.value)
