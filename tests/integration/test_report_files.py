"""Where the files of reports lie, for how long, and what becomes of one that is not what was made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from actions import reports as asking
from rules.errors import ReportDamaged, ReportExpired, ReportFailed
from tasks.make_report import make_report
from tests.integration.after_sales import later
from tests.integration.conftest import Lottery
from tests.integration.making_reports import KIND, asked, content, files
from tests.reporting import in_place_of


@pytest.fixture(autouse=True)
def a_kind() -> Iterator[None]:
    with in_place_of(KIND):
        yield


def test_a_file_is_for_us_alone_and_nothing_lies_beside_it(lottery: Lottery) -> None:
    for format in ("json", "csv", "xlsx", "pdf"):
        assert make_report(lottery.res, asked(lottery, lottery.person("admin"), format))
    assert lottery.res.settings.reports_dir.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in files(lottery.res)] == [0o600] * 4


@pytest.mark.parametrize("harm", ["changed", "shorter", "gone"])
def test_a_file_that_is_not_what_was_made_is_not_sent_and_is_made_anew(lottery: Lottery, harm: str) -> None:
    res, owner = lottery.res, lottery.person("admin")
    report = asked(lottery, owner)
    assert make_report(res, report)
    (path,) = files(res)
    raw = path.read_bytes()
    if harm == "gone":
        path.unlink()
    else:
        path.write_bytes(raw[:-1] if harm == "shorter" else raw.replace(b"outlet 1", b"outlet 7"))
    with pytest.raises(ReportDamaged):
        asking.download(res, owner, report)
    with pytest.raises(ReportFailed):
        asking.download(res, owner, report)
    second = asked(lottery, owner)
    assert second != report
    assert make_report(res, second)
    assert len(content(res, owner, second)["tables"]["tickets"]["rows"]) == 3


def test_a_report_is_kept_for_its_time(lottery: Lottery) -> None:
    owner = lottery.person("admin")
    res = replace(lottery.res, settings=replace(lottery.res.settings, report_days=1))
    report = asked(lottery, owner)
    assert make_report(res, report)
    assert asking.one(later(res, 23), owner, report)["status"] == "ready"
    over = later(res, 25)
    assert asking.one(over, owner, report)["status"] == "expired"
    with pytest.raises(ReportExpired):
        asking.download(over, owner, report)
    assert asked(Lottery(over, lottery.rings), owner) != report
