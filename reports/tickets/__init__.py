"""Tickets as they are printed: from a template's text to plain text, a page, a picture, or a printer's own commands."""
