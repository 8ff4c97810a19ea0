"""Panels of curves as SVG within a page: drawn in its colours, light or dark, with the values of each place to read.

Nothing here is wider than a phone. Every value is in a ``title``, which a browser shows where there is no script.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

from isnas.draw.curves import MOST_MARKED, Panel
from isnas.draw.markup import attribute, escaped
from isnas.draw.page_ticks import log_ticks, ticks

WIDTH, HEIGHT = 420.0, 250.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 66.0, 12.0, 10.0, 36.0
#: Places of a chart whose values can be read one by one.
_MOST_READ = 200
#: The least part of the largest value that a logarithmic axis reaches down to.
_FLATTEST = 1e-30
#: Looks of lines that the style sheet has: ``line-0``, ``line-1``, ...
LOOKS = 6


def charts(panels: Sequence[Panel]) -> str:
    """The panels side by side where there is room, series of one label in one look; nothing of none."""
    labels = list(dict.fromkeys(series.label for panel in panels for series in panel.series))
    looks = {label: f"line-{place % LOOKS}" for place, label in enumerate(labels)}
    figures = "".join(_figure(panel, looks) for panel in panels)
    return f'<div class="grid-of">{figures}</div>' if figures else ""


def _figure(panel: Panel, looks: Mapping[str, str]) -> str:
    """Title, legend, axes with the panel's curves, and a line that tells values."""
    legend = "".join(f'<li class="{looks[series.label]}">{escaped(series.label)}</li>' for series in panel.series)
    return (
        f'<figure class="chart"><figcaption>{escaped(panel.title)}</figcaption>'
        f'<ul class="legend">{legend}</ul>{_axes(panel, looks)}'
        f'<p class="reading" aria-live="polite">in the end {escaped(_ends(panel))}</p></figure>'
    )


def _axes(panel: Panel, looks: Mapping[str, str]) -> str:
    x = [float(value) for value in panel.x]
    right = max(x) if max(x) > min(x) else min(x) + 1.0
    lowest = panel.lowest if panel.log else -math.inf
    shown = [[max(value, lowest) for value in series.y] for series in panel.series]
    values = [value for y in shown for value in y if _there(value, panel.log)]
    low, high = _range(values, panel)

    def across(value: float) -> float:
        return _LEFT + (value - min(x)) / (right - min(x)) * (WIDTH - _LEFT - _RIGHT)

    def up(value: float) -> float:
        value, bottom, top = (math.log(v) if panel.log else v for v in (max(value, low), low, high))
        return HEIGHT - _BOTTOM - (value - bottom) / (top - bottom) * (HEIGHT - _TOP - _BOTTOM)

    words = f"{panel.title} over {len(panel.x)} epochs; in the end {_ends(panel)}"
    parts = [f'<svg viewBox="0 0 {WIDTH:g} {HEIGHT:g}" role="img" aria-label={attribute(words)}>']
    for value in log_ticks(low, high) if panel.log else ticks(low, high):
        parts.append(f'<path class="grid" d="M{_LEFT:g} {up(value):.1f}H{WIDTH - _RIGHT:g}"/>')
        parts.append(f'<text class="tick" x="{_LEFT - 6:g}" y="{up(value) + 4:.1f}" text-anchor="end">{value:g}</text>')
    floor = HEIGHT - _BOTTOM
    for value in ticks(min(x), right, whole=True):
        place = f'x="{across(value):.1f}" y="{floor + 16:g}"'
        parts.append(f'<text class="tick" {place} text-anchor="middle">{value:g}</text>')
    parts.append(f'<path class="axis" d="M{_LEFT:g} {_TOP:g}V{floor:g}H{WIDTH - _RIGHT:g}"/>')
    parts.append(
        f'<text class="name" x="{WIDTH - _RIGHT:g}" y="{HEIGHT - 4:g}" text-anchor="end">{panel.xlabel}</text>'
    )
    parts.append(f'<text class="name" transform="translate(11 {(_TOP + floor) / 2:g}) rotate(-90)" ')
    parts.append(f'text-anchor="middle">{escaped(panel.ylabel)}</text>')
    if panel.mark is not None and min(x) <= panel.mark <= right:
        parts.append(f'<path class="mark" d="M{across(panel.mark):.1f} {_TOP:g}V{floor:g}"/>')
    for series, y in zip(panel.series, shown):
        points = [(across(a), up(b)) if _there(b, panel.log) else None for a, b in zip(x, y)]
        parts.append(f'<path class="line {looks[series.label]}" d="{_path(points)}"/>')
        if len(x) <= MOST_MARKED:
            dots = "".join(f'<circle cx="{p[0]:.1f}" cy="{p[1]:.1f}" r="2.6"/>' for p in points if p)
            parts.append(f'<g class="{looks[series.label]}">{dots}</g>')
    parts += [_strips(panel, [across(value) for value in x]), "</svg>"]
    return "".join(parts)


def _strips(panel: Panel, places: Sequence[float]) -> str:
    """An invisible strip over each place, or over as many as are worth it, with the values there as its title."""
    step = -(-len(places) // _MOST_READ)
    chosen = sorted({*range(0, len(places), step), len(places) - 1})
    edges = [_LEFT, *((places[a] + places[b]) / 2 for a, b in pairwise(chosen)), WIDTH - _RIGHT]
    parts = []
    for number, (left, right) in zip(chosen, pairwise(edges)):
        values = "\n".join(f"{s.label}: {s.y[number]:.6g}" for s in panel.series if not math.isnan(s.y[number]))
        title = f"{panel.xlabel} {panel.x[number]}\n{values}"
        box = f'x="{left:.1f}" y="{_TOP:g}" width="{right - left:.1f}" height="{HEIGHT - _TOP - _BOTTOM:g}"'
        parts.append(f'<rect class="strip" data-x="{places[number]:.1f}" {box}><title>{escaped(title)}</title></rect>')
    return "".join(parts)


def _ends(panel: Panel) -> str:
    """The last value of each line."""
    ends = []
    for series in panel.series:
        known = [value for value in series.y if not math.isnan(value)]
        ends += [f"{series.label} {known[-1]:.4g}"] if known else []
    return ", ".join(ends)


def _there(value: float, log: bool) -> bool:
    return math.isfinite(value) and (value > 0.0 or not log)


def _path(points: Sequence[tuple[float, float] | None]) -> str:
    """Lines from point to point, and gaps where there is none."""
    words, pen_up = [], True
    for point in points:
        if point is not None:
            words.append(f"{'M' if pen_up else 'L'}{point[0]:.1f} {point[1]:.1f}")
        pen_up = point is None
    return "".join(words)


def _range(values: Sequence[float], panel: Panel) -> tuple[float, float]:
    """The lower and the upper edge, a little further than the values."""
    low, high = min(values), max(values)
    if panel.log:
        low = max(low, high * _FLATTEST)
        margin = (high / low) ** 0.05 if high > low else 1.3
        return low if low == panel.lowest else low / margin, high * margin
    margin = 0.05 * (high - low) or abs(high) * 0.05 or 1.0
    return low - margin, high + margin
