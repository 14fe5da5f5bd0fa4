"""What people write as a reason or a note."""

import pytest

from rules.texts import printable


@pytest.mark.parametrize("text", ["a mistake", "zwei\nZeilen\tund ein Tab", "₱100 – Ñ"])
def test_text_that_says_something_is_taken(text: str) -> None:
    assert printable(text)


@pytest.mark.parametrize("text", ["", "  \n", "\033[2J", "nul \0", "half \ud800"])
def test_nothing_and_control_characters_are_not(text: str) -> None:
    assert not printable(text)
