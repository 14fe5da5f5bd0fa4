"""Whatever somebody pushes onto a queue in Redis arrives as a message.

By then it has been taken off the list, and Celery's transport stumbles over what is not as it writes it: the worker
would end, and the message be gone. Nor is believed what a message says of its way: where it goes back to if this
worker cannot finish it is the list that it came from, and its tag, by which it is found again, is its own.
"""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any

from kombu.transport import redis
from kombu.utils.json import dumps, loads


def accept_anything(channel: Any) -> None:
    """Has the channel put what it receives into a proper envelope. Other transports do that themselves."""
    if not isinstance(channel, redis.Channel):
        return
    parse = channel.client.parse_response

    def parse_response(connection: Any, command: str, **options: Any) -> Any:
        answer = parse(connection, command, **options)
        if command == "BRPOP" and answer:
            key, item = answer
            queue = key.decode().split(channel.sep, 1)[0]
            return key, _addressed(queue, item, channel) or _envelope(queue, item)
        return answer

    channel.client.parse_response = parse_response


def _way(queue: str) -> dict[str, Any]:
    return {"delivery_tag": str(uuid.uuid4()), "delivery_info": {"exchange": "", "routing_key": queue}}


def _addressed(queue: str, item: bytes, channel: Any) -> bytes | None:
    """The message with its way; None if it is none."""
    try:
        message = loads(item)  # type: ignore[no-untyped-call]
        message["properties"] |= _way(queue)
        message["headers"] |= {}  # what cannot be noted in when it goes back is no message
        channel.Message(message, channel=channel)
        return bytes(dumps(message).encode())  # type: ignore[no-untyped-call]
    except Exception:  # whatever the transport stumbles over
        return None


def _envelope(queue: str, item: bytes) -> bytes:
    properties = {**_way(queue), "body_encoding": "base64"}
    body = base64.b64encode(item).decode()
    envelope = {"body": body, "content-type": "application/octet-stream", "headers": {}, "properties": properties}
    return json.dumps(envelope).encode()
