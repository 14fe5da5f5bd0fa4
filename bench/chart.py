"""A picture of the accept rates: one bar each, the figure behind it."""

from __future__ import annotations

from html import escape
from typing import Any

WIDTH, BAR, GAP, LABEL, FIGURE = 760, 22, 10, 260, 90


def draw(found: dict[str, Any]) -> str:
    """An SVG document."""
    accept = found["accept"]
    bars = [
        ("constant answer (floor)", found["floor"]["per_s"], "#9aa5b1"),
        ("accept, persister idle", accept["idle"]["per_s"], "#2b6cb0"),
        ("accept, persister running", accept["running"]["per_s"], "#2b6cb0"),
        ("batches of 100", found["batch"]["tickets_per_s"], "#2b6cb0"),
        ("persist, one worker", found["persist"]["tickets_per_s"], "#2b6cb0"),
        ("(a) one transaction a ticket", found["per_ticket"]["per_s"], "#c05621"),
        ("(b) one message a ticket: accepted", found["per_message"]["per_s"], "#c05621"),
        ("(b) … stored", found["per_message"]["stored_per_s"], "#c05621"),
    ]
    most = max(value for _, value, _ in bars)
    height = GAP + len(bars) * (BAR + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        'font-family="sans-serif" font-size="13">'
    ]
    for place, (name, value, colour) in enumerate(bars):
        y = GAP + place * (BAR + GAP)
        length = max(1.0, value / most * (WIDTH - LABEL - FIGURE))
        parts.append(f'<text x="{LABEL - 8}" y="{y + 15}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<rect x="{LABEL}" y="{y}" width="{length:.0f}" height="{BAR}" fill="{colour}"/>')
        parts.append(f'<text x="{LABEL + length + 6:.0f}" y="{y + 15}">{value:,.0f}/s</text>')
    return "\n".join([*parts, "</svg>", ""])
