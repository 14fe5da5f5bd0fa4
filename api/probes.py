"""Looking at the broker, which the API only publishes to."""

from __future__ import annotations

from typing import Any

CONNECT_TIMEOUT_S = 2


class BrokerProbe:
    """Asks whether the publisher's broker can be reached."""

    def __init__(self, publisher: Any) -> None:
        self._publisher = publisher

    def refusal(self) -> str | None:
        """Why the broker cannot be reached, or None."""
        try:
            with self._publisher.connection_for_write() as connection:
                connection.ensure_connection(max_retries=1, timeout=CONNECT_TIMEOUT_S)
        except Exception as error:  # each transport raises its own; whatever it is, the broker is away
            return type(error).__name__
        return None
