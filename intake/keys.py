"""Names of the gate's keys. Their types, fields and lifetimes stand at the head of the scripts (lua/head.lua)."""

from __future__ import annotations

GATE = "gate"


def draw(name: str) -> str:
    return f"draw:{name}"


def journal(name: str) -> str:
    return f"draw:{name}:journal"


def ids(name: str) -> str:
    return f"draw:{name}:ids"


def exposure(name: str) -> str:
    return f"draw:{name}:exposure"


def limits(name: str) -> str:
    return f"draw:{name}:limits"


def wallet(agent_id: int) -> str:
    return f"wallet:{agent_id}"


def bell(name: str) -> str:
    return f"bell:{name}"


def ended(session: str) -> str:
    return f"ended:{session}"


def batch(token: str) -> str:
    return f"batch:{token}"


def tightened(intent: str) -> str:
    return f"tightened:{intent}"
