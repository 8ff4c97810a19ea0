"""When what was part of something, as bars over columns in SVG within a page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from isnas.draw.markup import attribute, escaped, paragraph
from isnas.draw.page_ticks import ticks

WIDTH = 420.0
_LEFT, _RIGHT, _ROW, _FOOT = 172.0, 10.0, 15.0, 22.0
_MOST_ROWS = 60


@dataclass(frozen=True)
class Track:
    """What was there in these columns, ascending; ``kept``: it is in what came out."""

    label: str
    columns: Sequence[int]
    kept: bool

    def spans(self) -> list[tuple[int, int]]:
        """The first and the last of the columns that follow one another, from left to right."""
        starts = [c for place, c in enumerate(self.columns) if not place or self.columns[place - 1] < c - 1]
        ends = [c for place, c in enumerate(self.columns) if c + 1 not in self.columns[place + 1 : place + 2]]
        return list(zip(starts, ends, strict=True))


def timeline(title: str, tracks: Sequence[Track], names: Sequence[str]) -> str:
    """A ``figure`` with a row for each track over columns of these names; the longest tracks, where there are many."""
    longest = sorted(tracks, key=lambda track: (not track.kept, -len(track.columns)))[:_MOST_ROWS]
    shown = [track for track in tracks if track in longest]
    width = (WIDTH - _LEFT - _RIGHT) / len(names)
    foot = _ROW * len(shown) + 4
    words = f"{title}: {len(tracks)} connections over {len(names)} epochs, {sum(t.kept for t in tracks)} of them kept"
    parts = [f'<svg viewBox="0 0 {WIDTH:g} {foot + _FOOT:g}" role="img" aria-label={attribute(words)}>']
    for row, track in enumerate(shown):
        top, look = row * _ROW, "kept" if track.kept else "left"
        parts.append(f'<text class="track {look}" x="{_LEFT - 8:g}" y="{top + 11:g}" text-anchor="end">')
        parts.append(f"{escaped(track.label)}</text>")
        for first, last in track.spans():
            when = f"epoch {names[first]}" if first == last else f"epochs {names[first]} to {names[last]}"
            box = f'x="{_LEFT + first * width:.1f}" y="{top + 2:g}" height="{_ROW - 4:g}"'
            box += f' width="{max((last - first + 1) * width - 0.6, 0.8):.1f}"'
            parts.append(f'<rect class="bar {look}" {box}><title>{escaped(f"{track.label}: {when}")}</title></rect>')
    parts.append(f'<path class="axis" d="M{_LEFT:g} 0V{foot:g}H{WIDTH - _RIGHT:g}"/>')
    for column in map(int, ticks(0, max(len(names) - 1, 1), whole=True)):
        if column < len(names):
            place = f'x="{_LEFT + (column + 0.5) * width:.1f}" y="{foot + 15:g}"'
            parts.append(f'<text class="tick" {place} text-anchor="middle">{escaped(names[column])}</text>')
    left_out = len(tracks) - len(shown)
    note = paragraph(f"{left_out} more were part of it for fewer epochs." if left_out else "")
    return f'<figure class="timeline"><figcaption>{escaped(title)}</figcaption>{"".join(parts)}</svg>{note}</figure>'
