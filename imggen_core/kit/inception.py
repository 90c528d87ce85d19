"""The network behind a bare "FID": Inception-V3 as Google released it in December 2015, ported to PyTorch by pytorch-fid.

Its weights have 95 MB and are used where they are on this machine; only `fetch_weights` downloads them (`imggen fetch-weights`).
"""

import urllib.error
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.inception import Inception3

from .images import as_saved
from .settings import DATA, InputError

INCEPTION = "pt_inception-2015-12-05-6726825d.pth"
INCEPTION_URL = f"https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights/{INCEPTION}"


def weight_folders() -> list[Path]:
    """Where the weights are looked for: data/weights, then torch hub's cache."""
    return [DATA / "weights", Path(torch.hub.get_dir(), "checkpoints")]


def inception_weights() -> Path | None:
    """The file of the weights on this machine, or None; never downloads."""
    return next((folder / INCEPTION for folder in weight_folders() if (folder / INCEPTION).is_file()), None)


def fetch_weights(folder: Path | None = None) -> Path:
    """Download the weights into `folder` (default: data/weights), unless they are there; checks their hash."""
    path = Path(folder or weight_folders()[0]) / INCEPTION
    if path.is_file():
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(INCEPTION_URL, str(path), hash_prefix=INCEPTION[-12:-4], progress=False)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        reason = " ".join(str(getattr(error, "reason", error)).split())[:120]
        raise InputError(f"{INCEPTION_URL}: not fetched ({reason}) — download it elsewhere and put it into {path.parent}") from None
    return path


class InceptionFeatures(nn.Module):
    """The FID's Inception-V3: pictures [B,3,H,W] in [0,1] to its 2,048 pooled features, from the weights in `path`.

    Pictures are rounded to 8 bits and enlarged to 299 × 299. InputError for a file of other weights, torchvision's own included.
    """

    name, num_features = "inception-v3", 2048

    def __init__(self, path: Path):
        super().__init__()
        self.net = Inception3(num_classes=1008, aux_logits=False, init_weights=False)
        try:
            self.net.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
        except Exception as error:
            reason = " ".join(str(error).split())[:100]
            raise InputError(f"{path}: is not the FID's Inception-V3 ({reason}) — `imggen fetch-weights` gets {INCEPTION}") from None
        self.net.fc = nn.Identity()
        pool_as_tensorflow(self.net)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        return self.net(2 * F.interpolate(as_saved(images), (299, 299), mode="bilinear", align_corners=False) - 1)


def pool_as_tensorflow(net: Inception3) -> None:
    """Give torchvision's Inception-V3 the pools of the network of 2015: means without the padding, and a maximum in the last block.

    By hooks, so that torchvision's blocks stay as they are.
    """

    def without_padding(module, given):
        return (given[0] / F.avg_pool2d(torch.ones_like(given[0][:1, :1]), 3, 1, 1),)

    for block in net.children():
        if hasattr(block, "branch_pool"):
            block.branch_pool.register_forward_pre_hook(without_padding)
    entered = []  # what entered the last block, until its pool needs it
    net.Mixed_7c.register_forward_pre_hook(lambda module, given: entered.append(given[0]))
    net.Mixed_7c.branch_pool.register_forward_pre_hook(lambda module, given: (F.max_pool2d(entered.pop(), 3, 1, 1),))
