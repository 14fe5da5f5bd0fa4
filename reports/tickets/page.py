"""A ticket as a page of HTML: what must be on it."""

from __future__ import annotations

from html.parser import HTMLParser

from reports.tickets.qr import modules, svg_path
from reports.tickets.rows import BadTemplate, check_texts
from reports.tickets.slip import Slip

_UNSEEN = frozenset({"head", "script", "style", "template", "title"})
# What ends a piece of text: within a line, a number may be made of several elements.
_BLOCKS = frozenset(
    {"address", "br", "dd", "div", "dl", "dt", "footer", "h1", "h2", "h3", "h4", "header", "hr", "li", "main", "ol"}
    | {"p", "pre", "section", "table", "td", "th", "tr", "ul"}
)


class _Seen(HTMLParser):
    """The texts that a reader sees, and the paths that are drawn; nothing of comments."""

    def __init__(self) -> None:
        super().__init__()
        self.texts = [""]
        self.paths: set[str] = set()
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _UNSEEN:
            self._unseen += 1
        elif tag in _BLOCKS:
            self.texts.append("")
        elif tag == "path" and not self._unseen:
            self.paths.add(dict(attrs).get("d") or "")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _UNSEEN:
            self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN:
            self._unseen = max(0, self._unseen - 1)
        elif tag in _BLOCKS:
            self.texts.append("")

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.texts[-1] += data


def check_page(html: str, slip: Slip) -> None:
    """That number, code, QR and marks can be seen on the page. Raises BadTemplate."""
    seen = _Seen()
    seen.feed(html)
    seen.close()
    check_texts(seen.texts, slip)
    if svg_path(modules(slip.qr)) not in seen.paths:
        raise BadTemplate("it prints no qr")
