"""The ticket's QR code."""

from __future__ import annotations

from functools import lru_cache
from itertools import groupby

import segno

# Thermal paper fades and is folded: a sixth of the code may be unreadable (level M).
LEVEL = "M"
# The margin that the standard asks for, in modules.
QUIET_MODULES = 4

Modules = tuple[bytes, ...]


@lru_cache(maxsize=64)  # a page asks twice
def modules(text: str) -> Modules:
    """The code's rows without a margin; 1 is a dark module. A text of ours has 29 rows of 29."""
    return tuple(bytes(row) for row in segno.make_qr(text, error=LEVEL, boost_error=False).matrix)


def svg_path(rows: Modules) -> str:
    """The dark modules as the `d` of an SVG path, one unit each, neighbours as one; the margin around them counted."""
    parts = []
    for y, row in enumerate(rows, QUIET_MODULES):
        x = QUIET_MODULES
        for dark, neighbours in groupby(row):
            count = len(list(neighbours))
            if dark:
                parts.append(f"M{x} {y}h{count}v1h-{count}z")
            x += count
    return "".join(parts)


def svg(rows: Modules) -> str:
    """An SVG element for a page; its size is left to the page's style."""
    side = len(rows) + 2 * QUIET_MODULES
    return (
        f'<svg class="qr" viewBox="0 0 {side} {side}" shape-rendering="crispEdges" role="img" aria-label="QR">'
        f'<path fill="#fff" d="M0 0h{side}v{side}h-{side}z"/><path d="{svg_path(rows)}"/></svg>'
    )
