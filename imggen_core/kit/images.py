"""Picture files in and out, folders of pictures, public data sets, and PSNR."""

from __future__ import annotations

import contextlib
import math
import numbers
import os
import re
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from . import files
from .files import find, short
from .settings import DATA, InputError, nearest

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.data import Dataset

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
SUFFIXES = {".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}
FILE_PIXELS = 1 << 25  # what is decoded at most, 33 million
PIXELS = 4_194_304  # what is drawn at most, 2048 × 2048
SIDE = 4096  # the longest side that can be asked for
PUBLIC = {
    "cifar10": "CIFAR10", "cifar100": "CIFAR100", "mnist": "MNIST", "fashion-mnist": "FashionMNIST", "svhn": "SVHN", "stl10": "STL10",
    "celeba": "CelebA", "flowers102": "Flowers102", "pets": "OxfordIIITPet", "food101": "Food101", "textures": "DTD",
}  # fmt: skip


def is_picture(path: Path) -> bool:
    """Whether the file at `path` begins like one of FORMATS."""
    try:
        with warnings.catch_warnings(action="ignore"), _silent(), Image.open(path, formats=FORMATS):
            return True
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return path.suffix.lower() in SUFFIXES


def open_image(path: str | os.PathLike, image_size: int | tuple[int, int] | None = None) -> Tensor:
    """The picture in a file, float32 [3,H,W] in [0,1]: upright, transparency on white, 8 or 16 bits, colour or grey.

    `image_size` as in `targets.target`. InputError if the file is missing, empty, damaged, too large or of another kind.
    """
    size = parse_size(image_size)
    pixels = decode(path)
    import torch  # late: a refusal need not wait for it

    image = torch.from_numpy(pixels).permute(2, 0, 1).contiguous()
    return image if size is None else fit(image, size)


def decode(path: str | os.PathLike) -> np.ndarray:
    """`open_image` at the native size and without torch: float32 [H,W,3] in [0,1]."""
    name = str(path)
    try:
        with warnings.catch_warnings(action="ignore"), _silent(), Image.open(find(path), formats=FORMATS) as picture:
            if math.prod(picture.size) > FILE_PIXELS:
                raise Image.DecompressionBombError
            return _as_float(ImageOps.exif_transpose(picture))
    except UnidentifiedImageError:
        empty = find(path).stat().st_size == 0
        what = "is empty" if empty else "is not a picture that can be read"
        raise InputError(f"{name}: {what} — give an SVG, or a picture of the kind {', '.join(FORMATS)}") from None
    except Image.DecompressionBombError:
        raise InputError(f"{name}: has more than {FILE_PIXELS:,} pixels — give a smaller picture") from None
    except InputError:
        raise
    except PermissionError:
        raise InputError(f"{name}: cannot be read (Permission denied) — check its permissions") from None
    except (OSError, ValueError, SyntaxError, EOFError, MemoryError) as error:
        reason = " ".join(str(error).split())[:120].rstrip(".")
        raise InputError(f"{name}: is damaged ({reason}) — save it again") from None


@contextlib.contextmanager
def _silent():
    """Nothing reaches the screen: libtiff writes there of what is wrong with a file, beside the error that says it."""
    with open(os.devnull, "w") as nowhere:
        kept = os.dup(2)
        try:
            os.dup2(nowhere.fileno(), 2)
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


def parse_size(image_size) -> int | tuple[int, int] | None:
    """None, the longer side, or (width, height) from what a user may give: None, 256, "256", (320, 200), "320x200"; else InputError."""
    if image_size is None or (isinstance(image_size, str) and image_size.strip().lower() in ("", "none", "native")):
        return None
    parts = image_size
    if isinstance(parts, str):
        parts = re.split(r"\s*[x×,]\s*", parts.strip().strip("()[]").lower())
    if isinstance(parts, numbers.Number):
        parts = [parts]
    try:
        sides = [whole_side(part, "image_size") for part in parts]
    except TypeError:
        sides = []
    if len(sides) not in (1, 2):
        raise InputError(f"image_size: {short(image_size)} is not a size — give the longer side (256) or both (320x200)")
    if math.prod(sides) > PIXELS:
        raise InputError(f"image_size: {sides[0]}x{sides[-1]} is more than the {PIXELS:,} pixels that are drawn — give a smaller one")
    return sides[0] if len(sides) == 1 else tuple(sides)


def whole_side(value, name: str) -> int:
    """`value` as a side in 1..4096."""
    try:
        side = int(value)
        fits = side == float(value) and 1 <= side <= SIDE and not isinstance(value, bool)
    except (TypeError, ValueError, OverflowError):
        fits = False
    if not fits:
        raise InputError(f"{name}: a side of {short(value)} pixels — give a whole number from 1 to {SIDE:,}")
    return side


def _as_float(picture: Image.Image) -> np.ndarray:
    """A Pillow picture of any mode as float32 [H,W,3] in [0,1], transparency on white."""
    if picture.mode.startswith("I") or picture.mode == "F":  # one channel of 16 bits, or of floats in [0,1]
        grey = np.asarray(picture, np.float32) / (1 if picture.mode == "F" else 65535)
        return np.repeat(np.nan_to_num(grey).clip(0, 1)[..., None], 3, axis=2)
    if picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info:
        layers = np.asarray(picture.convert("RGBA"), np.float32) / 255
        alpha = layers[..., 3:]
        return layers[..., :3] * alpha + (1 - alpha)
    return np.asarray(picture.convert("RGB"), np.float32) / 255


def fit(image: Tensor, size: int | tuple[int, int]) -> Tensor:
    """`image` [3,H,W] resized so that its longer side is `size`, or so that it fits inside (width, height), centred on white."""
    import torch
    from torch.nn.functional import interpolate

    inside = fitted(*image.shape[1:], size)
    image = interpolate(image[None], inside, mode="bicubic", antialias=True)[0].clamp(0, 1)
    if not isinstance(size, tuple) or inside == (size[1], size[0]):
        return image
    canvas = torch.ones(3, size[1], size[0])
    top, left = (size[1] - inside[0]) // 2, (size[0] - inside[1]) // 2
    canvas[:, top : top + inside[0], left : left + inside[1]] = image
    return canvas


def fitted(height: int, width: int, size: int | tuple[int, int]) -> tuple[int, int]:
    """Height and width of a picture that is resized as `fit` does, without the white around it."""
    box = size if isinstance(size, tuple) else (size, size)
    ratio = min(box[0] / width, box[1] / height)
    return max(1, round(height * ratio)), max(1, round(width * ratio))


def as_array(image) -> np.ndarray:
    """Any image – tensor [3,H,W] or [1,H,W], array [H,W,3] or [H,W], Pillow picture – as a float array [H,W,3]."""
    pixels, is_tensor = _floats(image), hasattr(image, "detach")
    if pixels.ndim == 2:
        pixels, is_tensor = pixels[..., None], False
    channels_first = pixels.ndim == 3 and pixels.shape[0] in (1, 3) and (is_tensor or pixels.shape[2] not in (1, 3))
    if channels_first:
        pixels = pixels.transpose(1, 2, 0)
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3):
        raise ValueError(f"an image has the shape [3,H,W] or [H,W,3], not {list(np.shape(image))}")
    return np.broadcast_to(pixels, (*pixels.shape[:2], 3))


def _floats(image) -> np.ndarray:
    """Any array, tensor or picture as a float array of the same shape; bytes are scaled to [0,1]."""
    if isinstance(image, Image.Image):
        return _as_float(image)
    if hasattr(image, "detach"):
        image = image.detach().cpu()
        image = (image if str(image.dtype) == "torch.uint8" else image.float()).numpy()
    image = np.asarray(image)
    return image.astype(np.float32) / 255 if image.dtype == np.uint8 else image


def to_uint8(image) -> np.ndarray:
    """Any image with values in [0,1] as uint8 [H,W,3], rounded; what lies outside is clipped, nan is 0."""
    return (np.nan_to_num(as_array(image), posinf=1, neginf=0).clip(0, 1) * 255).round().astype(np.uint8)


def to_pil(image) -> Image.Image:
    """Any image with values in [0,1] as a Pillow RGB picture."""
    return image if isinstance(image, Image.Image) else Image.fromarray(np.ascontiguousarray(to_uint8(image)))


def save_image(image, path: str | os.PathLike) -> Path:
    """Write `image` in the format of the suffix (.png, .jpg …), whole or not at all; makes the folder; returns the path."""
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: {path.suffix or 'no suffix'} is not a kind of picture that can be written — end it with .png or .jpg")
    path.parent.mkdir(parents=True, exist_ok=True)
    with files.whole_file(path) as part:
        to_pil(image).save(part)
    return path


def checked_pictures(images: Tensor) -> Tensor:
    """`images` if they are pictures [B,3,H,W] in [0,1]; InputError names what is wrong with them otherwise."""
    from torch import Tensor

    if not isinstance(images, Tensor) or images.ndim != 4 or images.shape[1] != 3 or min(images.shape) < 1:
        what = list(images.shape) if isinstance(images, Tensor) else type(images).__name__
        raise InputError(f"pictures are a tensor [B,3,H,W], and this is {what} — give red, green and blue, as a batch")
    if not images.is_floating_point():
        raise InputError(f"pictures hold floats in [0,1], and these hold {str(images.dtype).removeprefix('torch.')} — divide by 255")
    low, high = (value.item() for value in images.detach().aminmax())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise InputError("these pictures hold NaN or infinity — look at what made them")
    if low < -0.001 or high > 1.001:
        raise InputError(f"pictures lie in [0,1], and these reach from {low:.3g} to {high:.3g} — rescale or clamp them")
    return images


def as_saved(images: Tensor) -> Tensor:
    """Pictures [B,3,H,W] in [0,1] rounded to 8 bits, as a file would hold them; InputError as `checked_pictures`."""
    return (checked_pictures(images).clamp(0, 1) * 255).round() / 255


def sheet(pictures, columns: int | None = None, gap: int = 2) -> np.ndarray:
    """Pictures of one size as one, uint8 [H,W,3]: in rows, with `gap` white pixels between and around; by itself, about as wide as high."""
    pictures = [to_uint8(picture) for picture in pictures]
    if len({picture.shape for picture in pictures}) != 1:
        raise ValueError(f"a sheet is made of pictures of one size, not of {sorted({picture.shape[:2] for picture in pictures})}")
    if len(pictures) == 1:
        return pictures[0]
    columns = min(columns or math.ceil(math.sqrt(len(pictures))), len(pictures))
    h, w = (side + gap for side in pictures[0].shape[:2])
    made = np.full((-(-len(pictures) // columns) * h + gap, columns * w + gap, 3), 255, np.uint8)
    for i, picture in enumerate(pictures):
        top, left = i // columns * h + gap, i % columns * w + gap
        made[top : top + h - gap, left : left + w - gap] = picture
    return made


def enlarge(image: Tensor, factor: int, kind: str = "bicubic") -> Tensor:
    """`image` [3,H,W] `factor` times larger, by "bicubic" (Keys' kernel, a = -0.5, as Pillow does) or "nearest"."""
    from torch.nn.functional import interpolate

    size = image.shape[1] * factor, image.shape[2] * factor
    if kind == "nearest":
        return interpolate(image[None], size, mode="nearest-exact")[0]
    if kind == "bicubic":
        return interpolate(image[None], size, mode="bicubic", antialias=True)[0].clamp(0, 1)
    raise ValueError(f"kind is {kind!r}: it is 'bicubic' or 'nearest'")


def psnr(a, b) -> float:
    """Peak signal-to-noise ratio in dB of two images (or equal batches) with values in [0,1]; 100 when nearly identical."""
    if np.shape(a) == np.shape(b):
        a, b = _floats(a), _floats(b)
    else:
        a, b = as_array(a), as_array(b)
    if a.shape != b.shape:
        raise ValueError(f"psnr of images of different shapes: {list(a.shape)} and {list(b.shape)}")
    error = float(np.mean((a.astype(np.float64) - b) ** 2))
    return 100.0 if error < 1e-10 else -10 * math.log10(error)


def folder(path: str | os.PathLike, image_size: int | tuple[int, int] | None = None) -> Dataset:
    """All pictures below the folder `path`, in the order of their names, as a data set of [3,H,W] tensors.

    What is no picture by its first bytes, and a link that leads out of the folder, is left out; a file that turns out to be damaged when
    its turn comes is stood in for by the next good one. Both are said in a line and kept in `skipped`; InputError only if no file is left.
    """
    from torch.utils.data import Dataset

    root = files.typed(path)
    if not root.is_dir():
        raise InputError(f"{path}: {'is a file' if root.exists() else 'no such folder'} — give the path of a folder of pictures")
    found = sorted(file for file in root.rglob("*") if file.suffix.lower() in SUFFIXES and (file.is_symlink() or file.is_file()))
    if not found:
        raise InputError(f"{path}: no pictures in this folder — give one with {', '.join(sorted(SUFFIXES))} files")
    good = [file for file in found if (not file.is_symlink() or files.inside(file, root)) and _opens(file)]
    if not good:
        raise InputError(f"{path}: none of its {len(found)} files is a picture that can be read — give another folder")

    class Pictures(Dataset):
        def __len__(self) -> int:
            return len(good)

        def __getitem__(self, index: int) -> Tensor:
            number = range(len(good))[index]
            for file in good[number:] + good[:number]:
                if file not in self.skipped:
                    try:
                        return open_image(file, image_size)
                    except InputError as error:
                        self.skipped.append(file)
                        _say(f"skipped: {error} ({len(self.skipped)} of {len(found)} files in {path})")
            raise InputError(f"{path}: none of its {len(found)} files is a picture that can be read — give another folder")

    pictures = Pictures()
    pictures.files, pictures.skipped = good, sorted(set(found) - set(good))
    if pictures.skipped:
        _say(f"skipped: {len(pictures.skipped)} of {len(found)} files in {path} are no pictures in it, {pictures.skipped[0].name} is one")
    return pictures


def _say(text: str) -> None:
    print(files.printable(text), flush=True)


def _opens(path: Path) -> bool:
    """Whether the header of the file at `path` is that of a picture, of a size that is read."""
    try:
        with warnings.catch_warnings(action="ignore"), _silent(), Image.open(path, formats=FORMATS) as picture:
            return math.prod(picture.size) <= FILE_PIXELS
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def public(name: str, *, train: bool = True, root: str | os.PathLike = DATA, transform=None) -> Dataset:
    """A public data set by name (one of PUBLIC), by torchvision's class: (image [3,H,W] in [0,1], label); downloaded once into `root`."""
    import torchvision.datasets
    import torchvision.transforms.functional as functional

    if name not in PUBLIC:
        raise InputError(f"{name}: not a known data set — {nearest(name, PUBLIC)}")
    kind = getattr(torchvision.datasets, PUBLIC[name])
    split = {"train": train} if name in ("cifar10", "cifar100", "mnist", "fashion-mnist") else {"split": _split(name, train)}
    try:
        return kind(Path(root) / name, download=True, transform=transform or functional.to_tensor, **split)
    except (OSError, RuntimeError, ValueError, ImportError) as error:
        reason = " ".join(str(error).split())[:120].rstrip(".")
        where = f"or put torchvision's files into {Path(root) / name}"
        raise InputError(f"{name}: could not be downloaded ({reason}) — connect to the network, {where}") from None


def _split(name: str, train: bool) -> str:
    return {"pets": ("test", "trainval")}.get(name, ("test", "train"))[train]
