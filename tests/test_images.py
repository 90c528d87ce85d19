"""Pictures in and out, folders, public data sets, PSNR."""

import math
import struct
import urllib.error
import urllib.request
import zlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from skimage.metrics import peak_signal_noise_ratio

from imggen_core.kit import images
from imggen_core.kit.settings import InputError


def ramp(height: int = 6, width: int = 8) -> np.ndarray:
    """A uint8 [H,W,3] picture in which every pixel differs."""
    y, x = np.mgrid[:height, :width]
    return np.stack([x * 255 // (width - 1), y * 255 // (height - 1), (x + y) * 9], axis=2).astype(np.uint8)


def refusal(path, says: str, **options) -> str:
    with pytest.raises(InputError) as caught:
        images.open_image(path, **options)
    line = str(caught.value)
    assert says in line and "\n" not in line and " — " in line
    return line


# Reading


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tiff", ".ppm", ".webp"])
def test_a_picture_comes_back_exactly(tmp_path, suffix):
    file = tmp_path / f"picture{suffix}"
    Image.fromarray(ramp()).save(file, **({"lossless": True} if suffix == ".webp" else {}))
    picture = images.open_image(file)
    assert picture.dtype == torch.float32 and picture.is_contiguous()
    np.testing.assert_array_equal(images.to_uint8(picture), ramp())


def test_every_mode_becomes_rgb_on_white(tmp_path):
    grey = ramp()[..., 0]
    alpha = np.full_like(grey, 51)  # one fifth
    rgba = np.dstack([ramp(), alpha])
    faded = ramp() / 255 * 0.2 + 0.8
    in_palette = Image.fromarray(grey).convert("P")
    cases = {
        "grey": (Image.fromarray(grey), np.repeat(grey[..., None], 3, 2) / 255),
        "bits": (Image.fromarray(grey > 99), np.repeat((grey > 99)[..., None], 3, 2)),
        "sixteen": (Image.fromarray(grey.astype(np.uint16) * 257), np.repeat(grey[..., None], 3, 2) / 255),
        "alpha": (Image.fromarray(rgba), faded),
        "grey alpha": (Image.fromarray(np.dstack([grey, alpha])), np.repeat(grey[..., None], 3, 2) / 255 * 0.2 + 0.8),
        "palette": (in_palette, np.asarray(in_palette.convert("RGB")) / 255),
    }
    for name, (picture, expected) in cases.items():
        picture.save(tmp_path / f"{name}.png")
        np.testing.assert_allclose(images.open_image(tmp_path / f"{name}.png").permute(1, 2, 0), expected, atol=1e-6, err_msg=name)
    Image.fromarray(np.zeros((4, 4), np.uint8)).convert("P").save(tmp_path / "hole.png", transparency=0)
    assert images.open_image(tmp_path / "hole.png").min() == 1
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(tmp_path / "print.jpg", quality=100)
    red, green, blue = images.open_image(tmp_path / "print.jpg").mean((1, 2)).tolist()
    assert red > 0.95 and green < 0.05 and blue < 0.05
    Image.fromarray(np.linspace(-1, 2, 12, dtype=np.float32).reshape(3, 4)).save(tmp_path / "float.tiff")
    picture = images.open_image(tmp_path / "float.tiff")
    assert picture.shape == (3, 3, 4) and picture.min() == 0 and picture.max() == 1


def test_a_photo_stands_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # turned a quarter
    Image.fromarray(ramp(6, 8)).save(tmp_path / "photo.png", exif=exif)
    np.testing.assert_array_equal(images.to_uint8(images.open_image(tmp_path / "photo.png")), np.rot90(ramp(6, 8), -1))


@pytest.mark.parametrize("size, shape", [(4, (3, 4)), (16, (12, 16)), ((5, 5), (5, 5)), ("1x7", (7, 1)), (1, (1, 1))])
def test_a_size_can_be_asked_for(tmp_path, size, shape):
    Image.fromarray(ramp()).save(tmp_path / "picture.png")
    picture = images.open_image(tmp_path / "picture.png", size)
    assert picture.shape == (3, *shape) and 0 <= picture.min() and picture.max() <= 1


def test_damaged_and_foreign_files_are_refused(tmp_path):
    whole = tmp_path / "whole.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)).save(whole)
    data = whole.read_bytes()
    contents = {
        "empty.png": (b"", "is empty"),
        "text.png": (b"hello", "is not a picture"),
        "zeros.jpg": (bytes(1000), "is not a picture"),
        "short.png": (data[: len(data) // 2], "is damaged"),
        "head.png": (data[:20], "is "),
        "flipped.png": (data[:2000] + bytes(50) + data[2050:], "is damaged"),
        "program.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "is not a picture"),
    }
    for name, (content, says) in contents.items():
        (tmp_path / name).write_bytes(content)
        assert refusal(tmp_path / name, says).startswith(str(tmp_path / name))
    refusal(tmp_path / "whole.pgn", "did you mean whole.png?")
    refusal(tmp_path, "is a folder")
    refusal(whole, "image_size: ", image_size=0)


def test_a_picture_too_large_to_hold_is_refused_before_it_is_decoded(tmp_path):
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    for width, height in ((60_000, 60_000), (8_000, 8_000)):
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b""))
        refusal(tmp_path / "bomb.png", "33,554,432")


def test_a_damaged_tiff_is_refused_without_another_word_on_the_screen(tmp_path, capfd):
    for packing in ("tiff_lzw", "group4"):
        Image.fromarray(ramp(64, 64)).convert("1" if packing == "group4" else "RGB").save(tmp_path / "a.tif", compression=packing)
        data = (tmp_path / "a.tif").read_bytes()
        (tmp_path / "a.tif").write_bytes(data[:8] + b"\xff" * 40 + data[48:])
        try:
            images.open_image(tmp_path / "a.tif")
        except InputError as error:
            assert "is damaged" in str(error)
    assert capfd.readouterr() == ("", "")


# Writing


@given(arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))))
def test_saved_pictures_come_back(tmp_path_factory, pixels):
    folder = tmp_path_factory.getbasetemp() / "saved"
    tensor = torch.from_numpy(pixels.astype(np.float32) / 255).permute(2, 0, 1)
    file = images.save_image(tensor, folder / "new" / "picture.png")
    np.testing.assert_array_equal(np.asarray(Image.open(file)), pixels)
    assert torch.equal(images.open_image(file), tensor)
    assert [entry.name for entry in file.parent.iterdir()] == ["picture.png"]


def test_saving_names_a_wrong_suffix_and_keeps_the_old_file_on_failure(tmp_path):
    for name in ("picture.txt", "picture"):
        with pytest.raises(InputError, match="not a kind of picture"):
            images.save_image(torch.zeros(3, 2, 2), tmp_path / name)
    file = images.save_image(torch.ones(3, 2, 2), tmp_path / "picture.png")
    with pytest.raises(ValueError, match="shape"):
        images.save_image(torch.zeros(7, 5, 2), file)
    assert images.open_image(file).min() == 1 and len(list(tmp_path.iterdir())) == 1


def test_images_of_every_form_become_the_same_bytes():
    pixels = ramp()
    floats = pixels.astype(np.float32) / 255
    tensor = torch.from_numpy(floats).permute(2, 0, 1)
    for image in (
        pixels,
        floats,
        floats.astype(np.float64),
        tensor,
        tensor.clone().requires_grad_(),
        tensor.double(),
        Image.fromarray(pixels),
    ):
        np.testing.assert_array_equal(images.to_uint8(image), pixels)
        np.testing.assert_array_equal(np.asarray(images.to_pil(image)), pixels)
    np.testing.assert_array_equal(images.to_uint8(tensor[:1])[..., 2], pixels[..., 0])
    np.testing.assert_array_equal(images.to_uint8(floats[..., 0])[..., 1], pixels[..., 0])
    assert images.to_uint8(torch.tensor([[-1.0, 2.0, math.nan, 0.5]]))[0, :, 0].tolist() == [0, 255, 0, 128]
    for width in (1, 3):  # a tensor's channels come first, an array's last
        assert images.to_uint8(torch.zeros(3, 5, width)).shape == (5, width, 3)
        assert images.to_uint8(np.zeros((width, 5, 3))).shape == (width, 5, 3)
    with pytest.raises(ValueError, match="shape"):
        images.to_uint8(torch.zeros(2, 5, 5))


# Measures


@given(arrays(np.float64, (5, 4, 3), elements=st.floats(0, 1)), st.floats(0.01, 1))
def test_psnr_is_that_of_scikit_image(image, noise):
    other = np.clip(image + noise * np.linspace(-1, 1, image.size).reshape(image.shape), 0, 1)
    assert images.psnr(image, other) == pytest.approx(peak_signal_noise_ratio(image, other, data_range=1), abs=1e-6)


def test_psnr_takes_every_form_and_has_a_ceiling():
    pixels = ramp()
    tensor = torch.from_numpy(pixels / np.float32(255)).permute(2, 0, 1)
    assert images.psnr(tensor, tensor) == images.psnr(pixels, pixels) == images.psnr(Image.fromarray(pixels), pixels) == 100
    assert images.psnr(torch.zeros(2, 3, 4, 4), torch.full((2, 3, 4, 4), 0.1)) == pytest.approx(20, abs=1e-4)
    assert images.psnr(tensor, pixels / 255) == images.psnr(pixels, tensor) == 100
    assert math.isnan(images.psnr(np.full((2, 2), math.nan), np.zeros((2, 2))))
    with pytest.raises(ValueError, match="shapes"):
        images.psnr(tensor, tensor[:, 1:])


def test_enlarging_is_what_pillow_does():
    grey = np.random.default_rng(0).random((7, 5), dtype=np.float32)
    expected = np.asarray(Image.fromarray(grey).resize((20, 28), Image.Resampling.BICUBIC)).clip(0, 1)
    image = torch.from_numpy(grey).expand(3, 7, 5)
    np.testing.assert_allclose(images.enlarge(image, 4)[1], expected, atol=1e-5)
    np.testing.assert_array_equal(images.enlarge(image, 3, "nearest")[2], grey.repeat(3, 0).repeat(3, 1))
    with pytest.raises(ValueError, match="'bicubic' or 'nearest'"):
        images.enlarge(image, 2, "lanczos")


# Sets of pictures


def test_a_folder_of_pictures_is_a_data_set_in_the_order_of_names(tmp_path):
    for index, name in enumerate(("b/2.png", "a.jpg", "b/1.PNG", "notes.txt")):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        if file.suffix == ".txt":
            file.write_text("not a picture")
        else:
            Image.new("RGB", (8, 4), (index * 40,) * 3).save(file)
    pictures = images.folder(tmp_path, (4, 4))
    assert [file.name for file in pictures.files] == ["a.jpg", "1.PNG", "2.png"]
    assert len(pictures) == 3 and pictures[1].shape == (3, 4, 4)
    batch = next(iter(torch.utils.data.DataLoader(pictures, batch_size=3)))
    assert batch.shape == (3, 3, 4, 4)


def test_damaged_files_of_a_folder_are_skipped_and_counted_and_training_goes_on(tmp_path, capsys):
    for index in range(5):
        Image.fromarray(np.random.default_rng(index).integers(0, 255, (32, 32, 3), np.uint8)).save(tmp_path / f"{index}.png")
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("not a picture")
    whole = (tmp_path / "3.png").read_bytes()
    (tmp_path / "3.png").write_bytes(whole[: len(whole) // 2])
    pictures = images.folder(tmp_path, 16)
    assert len(pictures) == 5 and [file.name for file in pictures.skipped] == ["empty.png", "text.jpg"]
    assert "skipped: 2 of 7 files" in capsys.readouterr().out
    for _ in range(2):  # epochs
        batches = list(torch.utils.data.DataLoader(pictures, batch_size=2))
        assert sum(map(len, batches)) == 5
    assert torch.equal(pictures[3], pictures[4]) and not torch.equal(pictures[3], pictures[2])  # the next good one stands in
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 1 and "3.png: is damaged" in printed[0] and "3 of 7 files" in printed[0]
    for index in (0, 1, 2, 4):
        (tmp_path / f"{index}.png").write_bytes(whole[:200])
    with pytest.raises(InputError, match="none of its 7 files"):
        pictures[0]
    with pytest.raises(IndexError):
        pictures[5]


def test_links_out_of_a_folder_are_skipped_and_names_cannot_steer_the_terminal(tmp_path, capsys):
    for name in ("outside.png", "pictures/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (4, 4)).save(tmp_path / name)
    (tmp_path / "pictures" / "b\x1b[2J.png").symlink_to(tmp_path / "outside.png")
    (tmp_path / "pictures" / "c.png").symlink_to("a.png")
    pictures = images.folder(tmp_path / "pictures")
    assert [file.name for file in pictures.files] == ["a.png", "c.png"]
    said = capsys.readouterr().out
    assert "skipped: 1 of 3 files" in said and "b\\x1b[2J.png is one" in said and "\x1b" not in said


def test_folders_without_pictures_are_refused(tmp_path):
    (tmp_path / "file.png").write_text("")
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "text.png").write_text("no picture")
    for name, says in {"nowhere": "no such folder", "file.png": "is a file", "empty": "no pictures", "bad": "none of its 1 files"}.items():
        with pytest.raises(InputError, match=says):
            images.folder(tmp_path / name)


def test_public_data_that_is_there_needs_no_network(tmp_path, monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: pytest.fail("went to the network"))
    raw = tmp_path / "mnist" / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for part, count in (("train", 3), ("t10k", 2)):
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, count, 28, 28) + bytes([255]) * (count * 784))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, count) + bytes(range(count)))
    digits = images.public("mnist", root=tmp_path)
    assert len(digits) == 3 and len(images.public("mnist", train=False, root=tmp_path)) == 2
    image, label = digits[2]
    assert image.shape == (1, 28, 28) and image.max() == 1 and label == 2


def test_public_data_without_a_network_is_one_clear_line(tmp_path, monkeypatch):
    def offline(*_, **__):
        raise urllib.error.URLError("no network in the tests")

    monkeypatch.setattr(urllib.request, "urlopen", offline)
    with pytest.raises(InputError, match="cifar10: could not be downloaded .*connect to the network") as caught:
        images.public("cifar10", root=tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match="did you mean 'cifar10'"):
        images.public("cifar", root=tmp_path)


def test_a_sheet_holds_every_picture_in_rows_between_white_lines():
    pictures = torch.rand(7, 3, 5, 4, generator=torch.Generator().manual_seed(0))
    made = images.sheet(pictures)
    assert made.shape == (3 * 7 + 2, 3 * 6 + 2, 3) and made.dtype == np.uint8
    for i, picture in enumerate(pictures):
        top, left = i // 3 * 7 + 2, i % 3 * 6 + 2
        assert np.array_equal(made[top : top + 5, left : left + 4], images.to_uint8(picture))
        made[top : top + 5, left : left + 4] = 255
    assert (made == 255).all()
    assert images.sheet(pictures, columns=7).shape == (7 + 2, 7 * 6 + 2, 3)
    assert np.array_equal(images.sheet(pictures[:1]), images.to_uint8(pictures[0])), "one picture is itself"
    from torchvision.utils import make_grid

    assert np.array_equal(images.sheet(pictures, columns=4), images.to_uint8(make_grid(pictures, nrow=4, padding=2, pad_value=1.0)))
    with pytest.raises(ValueError, match="one size"):
        images.sheet([torch.zeros(3, 2, 2), torch.zeros(3, 2, 3)])
