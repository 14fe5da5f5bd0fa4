"""The application as Flower opens it: `celery -A workers.flower flower`."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

from flower.utils import broker

from workers.app import app

__all__ = ["app"]


class _Socket(broker.RedisSocket):
    """Flower 2.2 counts the messages of database 0 wherever the broker is a socket: its queues would all look empty."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        (database,) = parse_qs(urlsplit(app.conf.broker_url).query).get("virtual_host", ["0"])
        self.redis.connection_pool.connection_kwargs["db"] = int(database)


broker.RedisSocket = _Socket
