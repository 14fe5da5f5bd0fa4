"""The audit log, as administrators and operators read it."""

from __future__ import annotations

from api.operation import Blueprint

blueprint = Blueprint(
    "audit", __name__, url_prefix="/v1", description="The audit log, as administrators and operators read it"
)
