"""Draws data/strip.png, the first picture of the README: what the model of each chapter makes. `python tools/strip.py` takes a minute."""

import matplotlib
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from imggen_core.designs import SPLITS, DesignWorld, make_design
from imggen_core.kit import images, settings, show, zoo
from imggen_core.metrics import damaged, frechet_distance
from imggen_core.unet import layer_picture

INK = show.INK
WIDTH, GAP, LABEL = 1760, 20, 62  # pixels: twice GitHub's column of 880, so that it is sharp on dense screens


def framed(pictures, columns: int, gap: int = 2) -> Image.Image:
    """Pictures of one size as one, without the white edge around."""
    sheet = Image.fromarray(images.sheet(pictures, columns, gap))
    return sheet.crop((gap, gap, sheet.width - gap, sheet.height - gap)) if len(pictures) > 1 else sheet


def from_noise() -> Image.Image:
    """The decoder's picture, its left third as the same network draws it before training."""
    trained = zoo.load("wireframe")
    torch.manual_seed(0)
    untrained = type(trained)(**trained._hub_mixin_config)
    with torch.no_grad():
        picture, start = trained()[0], untrained()[0]
    third = picture.shape[2] // 3
    start = (0.5 + (start - start.mean()) / start.std() / 4).clamp(0, 1)  # so faint that nobody would see it
    return framed([torch.cat([start[..., :third], torch.ones(3, len(start[0]), 2), picture[..., third:]], 2)], 1)


def read_designs() -> Image.Image:
    """Two designs, and under each what the U-Net finds in it: text pink, pictures blue."""
    unet = zoo.load("unet")
    designs = [torch.from_numpy(make_design(SPLITS["test"], i, 192).image).permute(2, 0, 1) / 255 for i in (19, 22)]
    return framed(designs + [layer_picture(design, unet.read(design)) for design in designs], 2, 4)


def judged_damage(font) -> Image.Image:
    """One design with four kinds of damage, each with the Fréchet distance of 500 designs so damaged from 500 others."""
    network, some, others = zoo.load("metrics"), *(DesignWorld(64).sample(500, seed) for seed in (1, 2))
    with torch.no_grad():
        real, made = network(others), []
        for kind in ("nothing", "blur", "noise", "double exposure"):
            distance = frechet_distance(network(damaged(some, kind, 0.5)), real)
            shown = damaged(DesignWorld(64).sample(2, 3), kind, 0.5)[:1]
            picture = Image.fromarray(images.to_uint8(shown[0])).resize((192, 192), Image.Resampling.NEAREST)
            label = Image.new("RGB", (192, 34), "white")
            ImageDraw.Draw(label).text((96, 17), f"FD {distance:.0f}", INK, font.font_variant(size=24), anchor="mm")
            made.append(torch.cat([torch.from_numpy(np.array(part)).permute(2, 0, 1) / 255 for part in (picture, label)], 1))
    return framed(made, 2, 4)


def panels(font) -> list[list[tuple[str, str, Image.Image]]]:
    """The rows of the strip: a chapter's name, what it does, and a picture that its model made."""
    strokes, contest, designer, wnet = (zoo.load(name) for name in ("strokes", "population", "designer", "wnet"))
    stages = [strokes.sample(strokes=n, scale=2)[0] for n in (3, 8, 14, strokes.strokes)]
    members = [contest.sample(round=turn, member=rank)[0] for turn in (0, 1, 3) for rank in (1, 2, 3)]
    forms = (("poster", 0.9), ("card", 0.5), ("banner", 0.3))
    ordered = [designer.sample(1, 7, goal=goal, format=f, tone=tone)[0] for goal in ("sell", "announce", "showcase") for f, tone in forms]
    return [
        [
            ("01 wireframe", "noise to picture, in pixels", from_noise()),
            ("02 strokes", "stroke by stroke, a real .svg", framed(stages, 2, 4)),
            ("03 population", "a hundred start, the best go on", framed(members, 3)),
            ("04 designs", "a world with exact labels", framed(DesignWorld(192).sample(9, 3), 3)),
            ("05 unet", "finds text and pictures", read_designs()),
        ],
        [
            ("06 wnet", "segments, no labels", framed([wnet.sample(1, seed)[0] for seed in (7, 0)], 1)),
            ("07 abstractor", "reads the purpose, grades the grammar", framed(zoo.load("abstractor").sample(1, 5), 1)),
            ("08 metrics", "how far from real?", judged_damage(font)),
            ("09 ddpm", "diffusion: from noise", framed(zoo.load("ddpm").sample(9, 7), 3)),
            ("10 designer", "diffusion, to order", framed(ordered, 3)),
        ],
    ]


def row(panels: list[tuple[str, str, Image.Image]], bold, font) -> Image.Image:
    """Labelled pictures side by side at one height, as wide as the strip."""
    height = round((WIDTH - GAP * (len(panels) - 1) - 2) / sum(picture.width / picture.height for *_, picture in panels))
    made, left = Image.new("RGB", (WIDTH, LABEL + height + 1), "white"), 1
    draw = ImageDraw.Draw(made)
    for name, note, picture in panels:
        wide = int(height * picture.width / picture.height)
        draw.text((left, 24), name, INK, bold, anchor="ls")
        draw.text((left, 50), note, "#555b64", font, anchor="ls")
        draw.rectangle((left - 1, LABEL - 1, left + wide, LABEL + height), outline=show.PALE)
        made.paste(picture.resize((wide, height), Image.Resampling.LANCZOS), (left, LABEL))
        left += wide + GAP
    return made


def main() -> None:
    bold, font = (
        ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans{kind}.ttf", size) for kind, size in (("-Bold", 23), ("", 19))
    )
    rows = [row(line, bold, font) for line in panels(font)]
    strip = Image.new("RGB", (WIDTH, sum(made.height for made in rows) + GAP), "white")
    strip.paste(rows[0], (0, 0))
    strip.paste(rows[1], (0, rows[0].height + GAP))
    strip.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(settings.ROOT / "data" / "strip.png", optimize=True)


if __name__ == "__main__":
    main()
