"""Check that a ticket is in its draw's sealed tree. Needs Python 3.9 or later and nothing else.

    python check_proof.py ANSWER.json [MERKLE_ROOT]        (- reads the answer from standard input)

ANSWER.json holds the answer of GET /v1/verify/{number}, or its inclusion_proof alone. MERKLE_ROOT is the root
published before the draw (GET /v1/draws/{id}/seal); without it, this shows only that the answer agrees with
itself. Prints one line; ends with 0 if the proof holds, with 1 if it does not or cannot be read.
"""

import hashlib
import json
import sys
from typing import Any


def root_of(proof: "dict[str, Any]") -> str:
    """The root, in hex, to which the proof leads (RFC 6962 section 2.1, as in RFC 9162 section 2.1.3.2)."""
    index, last = proof["index"], proof["tree_size"] - 1
    if not 0 <= index <= last:
        raise ValueError("the index lies outside the tree")
    path = [bytes.fromhex(step) for step in proof["path"]]
    node = hashlib.sha256(b"\x00" + proof["leaf_text"].encode()).digest()
    while last:
        if index % 2 or index < last:  # otherwise the node has no neighbour and goes up as it is
            if not path:
                raise ValueError("the path is too short")
            neighbour = path.pop(0)
            pair = neighbour + node if index % 2 else node + neighbour
            node = hashlib.sha256(b"\x01" + pair).digest()
        index, last = index // 2, last // 2
    if path:
        raise ValueError("the path is too long")
    return node.hex()


def main(arguments: "list[str]") -> str:
    """The line to print if all is well. Raises whatever is wrong."""
    if len(arguments) not in (1, 2):
        raise ValueError("usage: check_proof.py ANSWER.json [MERKLE_ROOT]")
    with open(0 if arguments[0] == "-" else arguments[0], encoding="utf-8") as file:
        answer = json.load(file)
    proof = answer.get("inclusion_proof") if "leaf_text" not in answer else answer
    if not proof:
        raise ValueError("the answer has no inclusion proof (a wrong code, or a draw not sealed yet)")
    root = root_of(proof)
    published = arguments[1] if len(arguments) == 2 else proof["root"]
    if root != proof["root"].lower() or root != published.strip().lower():
        raise ValueError(f"the proof leads to {root}, not to {published}")
    which = "the published root" if len(arguments) == 2 else "the answer's own root (compare it yourself)"
    return f"leaf {proof['index']} of {proof['tree_size']} under {which} {root}: {proof['leaf_text']}"


if __name__ == "__main__":
    try:
        print("OK:", main(sys.argv[1:]))
    except (AttributeError, KeyError, OSError, TypeError, ValueError) as problem:
        sys.exit(f"NOT PROVEN: {problem!r}" if isinstance(problem, KeyError) else f"NOT PROVEN: {problem}")
