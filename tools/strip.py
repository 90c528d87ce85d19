"""Draws data/strip.png, the README's first picture: what each chapter's model makes, two rows of five. `python tools/strip.py`, a minute."""

import matplotlib
import torch
from PIL import Image, ImageDraw, ImageFont

from imggen_core.designs import DesignWorld
from imggen_core.kit import images, settings, zoo

WIDTH, GAP, LABEL = 1760, 16, 40  # pixels: twice GitHub's column of 880, so that it is sharp on dense screens


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


def panels() -> list[list[tuple[str, Image.Image]]]:
    strokes, contest, world = zoo.load("strokes"), zoo.load("population"), DesignWorld(192)
    stages = [strokes.sample(strokes=n, scale=2)[0] for n in (3, 8, 14, strokes.strokes)]
    members = [contest.sample(round=turn, member=rank)[0] for turn in (0, 1, 3) for rank in (1, 2, 3)]
    scenes = zoo.load("wnet").sample(2, seed=3)
    return [
        [
            ("01 from noise, in pixels", from_noise()),
            ("02 in strokes, a real .svg", framed(stages, 2, 4)),
            ("03 the best of a hundred", framed(members, 3)),
            ("04 a world of designs", framed(world.sample(9, 3), 3)),
            ("05 a network reads them", framed(zoo.load("unet").sample(4, 0), 2)),
        ],
        [
            ("06 segments, no labels", framed(scenes, 1)),
            ("07 grades a design", framed(zoo.load("abstractor").sample(1, 5), 1)),
            ("08 measures a damaged one", framed(zoo.load("metrics").sample(1, 5, damage="noise", amount=0.5), 1)),
            ("09 designs from noise", framed(zoo.load("ddpm").sample(9, 7), 3)),
            ("10 designs to order", framed(zoo.load("designer").sample(9, 7, goal="sell"), 3)),
        ],
    ]


def row(panels: list[tuple[str, Image.Image]], font) -> Image.Image:
    """Labelled pictures side by side at one height, as wide as the strip."""
    height = round((WIDTH - GAP * (len(panels) - 1)) / sum(picture.width / picture.height for _, picture in panels))
    made, left = Image.new("RGB", (WIDTH, LABEL + height), "white"), 0
    for text, picture in panels:
        wide = round(height * picture.width / picture.height)
        ImageDraw.Draw(made).text((left, LABEL - 12), text, "#2b2f36", font, anchor="ls")
        made.paste(picture.resize((wide, height), Image.Resampling.LANCZOS), (left, LABEL))
        left += wide + GAP
    return made


def main() -> None:
    font = ImageFont.truetype(f"{matplotlib.get_data_path()}/fonts/ttf/DejaVuSans.ttf", 21)
    rows = [row(line, font) for line in panels()]
    strip = Image.new("RGB", (WIDTH, sum(made.height for made in rows) + GAP), "white")
    strip.paste(rows[0], (0, 0))
    strip.paste(rows[1], (0, rows[0].height + GAP))
    strip.quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(settings.ROOT / "data" / "strip.png", optimize=True)


if __name__ == "__main__":
    main()
