"""A picture of failovers: requests by outcome over time, as SVG."""

from collections import Counter
from pathlib import Path

from failover.figures import Figures

# Seconds from the event on, and the width of a bar.
START, END, BAR = -3.0, 15.0, 0.5
# Okabe and Ito's palette, which all kinds of eyes can distinguish.
COLOURS = {200: "#0072B2", 409: "#E69F00", 503: "#D55E00"}
LEFT, WIDTH, HEIGHT, ROW, TOP = 130, 760, 70, 92, 34


def draw(figures: list[Figures], path: Path, command: str) -> None:
    """Draw a row of bars for each event.

    Args:
        figures: of the events.
        path: of the file.
        command: which made them.
    """
    counts = [_bars(one) for one in figures]
    tallest = max(sum(bar.values()) for bars in counts for bar in bars)
    height = TOP + ROW * len(figures) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 20}" height="{height}"'
        ' font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
        _text(10, 18, f"requests answered per {BAR:g} s, by seconds from the event; {command}"),
    ]
    for place, (status, colour) in enumerate(COLOURS.items()):
        x = LEFT + WIDTH - 150 + place * 55
        parts.append(f'<rect x="{x}" y="9" width="10" height="10" fill="{colour}"/>')
        parts.append(_text(x + 14, 18, str(status)))
    for row, (one, bars) in enumerate(zip(figures, counts, strict=True)):
        parts += _row(one, bars, TOP + row * ROW, tallest)
    path.write_text("\n".join([*parts, "</svg>", ""]))


def _bars(figures: Figures) -> list[Counter[int]]:
    bars: list[Counter[int]] = [Counter() for _ in range(int((END - START) / BAR))]
    for at, status in figures.responses:
        if START <= at < END:
            bars[int((at - START) / BAR)][status] += 1
    return bars


def _row(figures: Figures, bars: list[Counter[int]], top: float, tallest: int) -> list[str]:
    bottom, width = top + HEIGHT, WIDTH / len(bars)
    parts = [
        _text(10, top + 30, figures.event),
        _text(10, top + 46, f"gap {figures.gap:.1f} s"),
        f'<path d="M{LEFT} {bottom}h{WIDTH}" stroke="#555555"/>',
    ]
    for place, counts in enumerate(bars):
        y = bottom
        for status, colour in COLOURS.items():
            height = HEIGHT * counts[status] / tallest
            y -= height
            if height:
                parts.append(
                    f'<rect x="{LEFT + place * width:.1f}" y="{y:.1f}" width="{width - 1:.1f}"'
                    f' height="{height:.1f}" fill="{colour}"/>'
                )
    for second in range(int(START), int(END) + 1, 3):
        x = LEFT + WIDTH * (second - START) / (END - START)
        parts.append(_text(x - 4, bottom + 13, str(second)))
        if second == 0:
            parts.append(f'<path d="M{x:.1f} {top}V{bottom}" stroke="#555555"/>')
    return parts


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" fill="#333333">{text}</text>'
