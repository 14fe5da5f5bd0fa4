"""With replication: an answer that somebody acts on waits until every replica that may be promoted has it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from intake import keys
from rules.errors import IntakeUnavailable


@dataclass(frozen=True)
class Replication:
    """How many replicas must have what is answered for (0: there are none), and how long to wait for them."""

    replicas: int = 0
    wait_ms: int = 500

    def ask(self, pipe: Any) -> None:
        """Ends a pipeline with a write of our own and a WAIT: after a mere read it vouches for what they lack."""
        if self.replicas:
            pipe.hincrby(keys.GATE, "touched", 1)
            pipe.execute_command("WAIT", self.replicas, self.wait_ms)

    def confirm(self, answers: list[Any]) -> list[Any]:
        """The pipeline's own answers. Raises IntakeUnavailable unless the replicas have them."""
        if not self.replicas:
            return answers
        if not isinstance(answers[-1], int) or answers[-1] < self.replicas:
            raise IntakeUnavailable(retry_after=1)
        return answers[:-2]
