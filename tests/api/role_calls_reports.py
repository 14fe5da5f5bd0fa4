"""The calls about reports, for the walk of roles."""

from __future__ import annotations

from tests.api import role_rules as rules
from tests.api.role_rules import Sent, Step, Walk
from tests.api.role_tree import Tree


def statement(tree: Tree, step: Step) -> Sent:
    period = {"from": "2026-11-01T00:00:00+08:00", "to": "2026-12-01T00:00:00+08:00"}
    tree.finish_reports()
    return Sent(body={"kind": "statement", "format": "json", "agent_id": step.about().id, **period})


def of_report(tree: Tree, step: Step) -> Sent:
    return Sent({"report_id": tree.report(step.about())})


def walks() -> list[Walk]:
    report, read = "/v1/reports/{report_id}", "report.read"
    return [
        Walk("POST /v1/reports", read, statement, 202, rule=rules.in_subtree, targets=rules.everybody),
        Walk("GET /v1/reports", read, lambda *_: Sent()),
        Walk(f"GET {report}", read, of_report, rule=rules.own_only, targets=rules.everybody),
        Walk(f"GET {report}/download", read, of_report, rule=rules.own_only, targets=rules.everybody),
    ]
