"""A document as a file: JSON, CSV, XLSX, PDF. Each writer takes the rows one by one, so its memory does not grow with
them; PDF is for people to print and sign, and takes PDF_ROWS_MAX at the most."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import BinaryIO

from reports.document import Document
from reports.formats.rows import Made

MEDIA_TYPES = {
    "json": "application/json",
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pdf": "application/pdf",
}


def write(format: str, document: Document, made: Made, file: BinaryIO, drafts: Path) -> None:
    """Puts the document into an empty file; the folder is there for drafts, and is deleted afterwards.

    Raises ReportTooLarge, and ValueError where the rows do not add up to their totals.
    """
    # Loaded by those who write: the library of PDF alone takes 31 MB, which the processes of the API need not have.
    import_module(f"reports.formats.{format}_file").write(document, made, file, drafts)
