"""Whatever somebody pushes onto a queue in Redis arrives as a message.

By then it has been taken off the list, and Celery's transport stumbles over what is not as it writes it: the worker
would end, and the message be gone.
"""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any

from kombu.transport import redis
from kombu.utils.json import loads


def accept_anything(channel: Any) -> None:
    """Has the channel put into a proper envelope what it receives without one. Other transports do that themselves."""
    if not isinstance(channel, redis.Channel):
        return
    parse = channel.client.parse_response

    def parse_response(connection: Any, command: str, **options: Any) -> Any:
        answer = parse(connection, command, **options)
        if command == "BRPOP" and answer:
            queue, item = answer
            return queue, item if _is_message(item, channel) else _envelope(queue, item, channel)
        return answer

    channel.client.parse_response = parse_response


def _is_message(item: bytes, channel: Any) -> bool:
    try:
        message = channel.Message(loads(item), channel=channel)  # type: ignore[no-untyped-call]
        info = message.delivery_info
        for text in (message.delivery_tag, info["exchange"], info["routing_key"]):
            text.encode()  # half a character would end the worker further on
        return True
    except Exception:  # whatever the transport stumbles over
        return False


def _envelope(queue: bytes, item: bytes, channel: Any) -> bytes:
    name = queue.decode().split(channel.sep, 1)[0]
    properties = {
        "delivery_tag": str(uuid.uuid4()),
        "delivery_info": {"exchange": "", "routing_key": name},
        "body_encoding": "base64",
    }
    body = base64.b64encode(item).decode()
    envelope = {"body": body, "content-type": "application/octet-stream", "headers": {}, "properties": properties}
    return json.dumps(envelope).encode()
