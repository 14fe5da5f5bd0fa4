"""What the processes of this machine counted, for Prometheus. It tells how business goes, so not for everybody."""

from __future__ import annotations

from flask import Response, request

from actions.resources import Resources
from api.forwarded import one_of
from api.operation import Blueprint, Caller, operation
from rules.errors import NotFound
from runtime.metrics import CONTENT_TYPE, exposition

blueprint = Blueprint("metrics", __name__, description="Probes")


@operation(blueprint, "GET /metrics", allowed=Caller.ANYONE, answers={200: None}, problems=(NotFound,))
def metrics(res: Resources, _: None) -> Response:
    """Counts and gauges in the text format of Prometheus; only for the addresses in METRICS_FROM."""
    if not one_of(res.settings.metrics_from)(request.remote_addr or ""):
        raise NotFound
    return Response(exposition(), content_type=CONTENT_TYPE)
