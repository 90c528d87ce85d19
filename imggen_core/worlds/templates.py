"""What a design that announces, informs or showcases is made of (chapter 04 shows the fourth goal, sell)."""

from dataclasses import replace

from .layouts import Box, Style, picture_box, room, side_by_side, stack, those_that_fit


def announce(style: Style, column: tuple) -> list[Box]:
    """A headline first, a date on a badge, a few lines, a band of picture where there is room."""
    rng, gap = style.rng, style.gap
    badge = style.label("badge", 0.2, 0.2, 2)
    if style.format == "banner":
        side, words = side_by_side(rng, column, 0.3)
        width = words[2] - words[0]
        texts = [style.headline(width * style.share_of_width()), style.paragraph(width * style.share_of_width(), 2),
                 style.paragraph(width * style.share_of_width() * 0.7, 1)]  # fmt: skip
        return stack([badge], side, 0, 0.5, 1) + stack(those_that_fit(texts, words, gap), words, gap, style.align, 0.8)
    width = column[2] - column[0]
    lines = 2 if style.format == "poster" and style.head < 0.11 else 1
    boxes = [style.headline(width * style.share_of_width(), lines), badge, style.paragraph(width * style.share_of_width(), 2)]
    if style.format == "card":
        boxes[2] = style.paragraph(width * style.share_of_width(), 1)
    high = room(boxes, column, gap)
    if high > 0.09:
        band = picture_box(rng, width * max(style.share_of_room(), 0.6), min(high * style.share_of_room() + 0.02, high))
        boxes.append(band)
    return stack(boxes, column, gap, style.align, 1)


def inform(style: Style, column: tuple) -> list[Box]:
    """A headline over two columns of text; a small picture heads the first."""
    rng, gap = style.rng, style.gap
    head = style.headline((column[2] - column[0]) * style.share_of_width())
    below = (column[0], column[1] + head.h + gap * 1.3, *column[2:])
    placed = stack([head], column, 0, style.align, 0)
    for number, part in enumerate(side_by_side(rng, below, 0.5)):
        width, boxes = part[2] - part[0], []
        if number == 0 and style.format != "banner":
            boxes.append(picture_box(rng, width * max(style.share_of_room(), 0.6), (part[3] - part[1]) * rng.uniform(0.3, 0.45)))
        while (lines := int((room(boxes, part, gap) + style.body * 0.9) / (style.body * 1.9))) >= 1:
            boxes.append(style.paragraph(width * rng.uniform(0.8, 1), int(min(lines, rng.integers(2, 5)))))
            if rng.random() < 0.25 + 0.6 * style.air:
                break
        placed += stack(boxes, part, gap, style.align, 0)
    return placed


def showcase(style: Style, column: tuple) -> list[Box]:
    """A short headline, a grid of pictures, a caption under each column."""
    rng, (x0, y0, x1, y1), gutter = style.rng, column, 0.085
    if style.format == "banner":  # a low page: what it is about are the pictures
        style = replace(style, head=min(style.head, 0.1), air=0.5 * style.air, gap=0.05)
    head = style.headline((x1 - x0) * style.share_of_width() * 0.85)
    grids = {"poster": (2, rng.integers(2, 4)), "card": (3, rng.integers(1, 3)), "banner": (rng.integers(3, 5), 1)}
    columns, rows = grids[style.format]
    top, width = y0 + head.h + style.gap * 1.2, (x1 - x0 - gutter * (columns - 1)) / columns
    placed = stack([head], column, 0, style.align, 0)
    wide, high = max(style.share_of_room(), 0.62), max(style.share_of_room(), 0.5)
    for number in range(columns):
        left = x0 + number * (width + gutter)
        part = (left, top, left + width, y1)
        caption = style.paragraph(width * rng.uniform(0.6, 0.95), 1, "caption")
        cell = (room([caption], part, 0.05) - 0.04 * (rows - 1)) / rows
        pictures = [picture_box(rng, width * wide, cell * high) for _ in range(rows)]
        placed += stack([*pictures, caption], part, 0.045, style.align, 0)
    return placed
