"""Claims of prizes, their approval; holds and reprints."""

from __future__ import annotations

from api.operation import Blueprint

blueprint = Blueprint(
    "claims", __name__, url_prefix="/v1", description="Claims of prizes, their approval; holds and reprints"
)
