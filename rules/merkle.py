"""The Merkle tree of RFC 6962 §2.1 over a draw's leaves, with SHA-256.

A tree splits at the largest power of two below its size. Built from below, that means: neighbours are joined
level by level, and one without a neighbour goes up as it is. Blocks of a power of two leaves are therefore
subtrees of their own, and the tree over their roots is the tree over all leaves.
"""

from collections.abc import Sequence
from functools import lru_cache
from hashlib import sha256

# Leaves a block: a path then costs reading one block of tickets and the hashes of the others (977 blocks for
# 1,000,000 tickets), not the whole draw.
BLOCK = 1024

EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(text: str) -> bytes:
    return sha256(b"\x00" + text.encode()).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return sha256(b"\x01" + left + right).digest()


def root(hashes: Sequence[bytes]) -> bytes:
    """The root over leaf hashes (or over roots of equal full blocks, the last one possibly short)."""
    if not hashes:
        return EMPTY_ROOT
    level = hashes
    while len(level) > 1:
        level = _above(level)
    return level[0]


def audit_path(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """The hashes that lead from the leaf at `index` (from 0) up to the root. IndexError: no such leaf."""
    if not 0 <= index < len(hashes):
        raise IndexError(f"no leaf {index} among {len(hashes)}")
    path = []
    level = hashes
    while len(level) > 1:
        sibling = index ^ 1
        if sibling < len(level):
            path.append(level[sibling])
        level = _above(level)
        index //= 2
    return path


def verify(leaf_text: str, index: int, tree_size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether the path proves that the leaf stands at `index` of the tree with this size and root."""
    if not 0 <= index < tree_size:
        return False
    node, last, rest = leaf_hash(leaf_text), tree_size - 1, list(path)
    while last:
        if index % 2 or index < last:  # it has a neighbour on this level
            if not rest:
                return False
            sibling = rest.pop(0)
            node = node_hash(sibling, node) if index % 2 else node_hash(node, sibling)
        index, last = index // 2, last // 2
    return not rest and node == root


@lru_cache(maxsize=2)  # two sources that agree give the same block, one after the other
def _block_root(hashes: tuple[bytes, ...]) -> bytes:
    return root(hashes)


class Blocks:
    """Builds the root of a stream of leaves, holding one block of leaves and the hashes of the full ones."""

    def __init__(self, block: int = BLOCK) -> None:
        _check_block(block)
        self._block = block
        self._leaves: list[bytes] = []
        self._hashes: list[bytes] = []

    def add(self, leaves: Sequence[bytes]) -> None:
        """Take the next leaves' hashes."""
        self._leaves += leaves
        while len(self._leaves) >= self._block:
            self._hashes.append(_block_root(tuple(self._leaves[: self._block])))
            del self._leaves[: self._block]

    def finish(self) -> tuple[int, bytes, list[bytes]]:
        """(tree size, root, block hashes) of what was added so far; the last block may be short."""
        size = len(self._hashes) * self._block + len(self._leaves)
        hashes = [*self._hashes, root(self._leaves)] if self._leaves else list(self._hashes)
        return size, root(hashes), hashes


def path_from_blocks(
    block_leaves: Sequence[bytes], block_hashes: Sequence[bytes], index: int, block: int = BLOCK
) -> list[bytes]:
    """The audit path of leaf `index` from the leaf hashes of its own block and the hashes of all blocks.

    ValueError: the leaves do not give the block's hash; no path is handed out that proves nothing.
    IndexError: no such leaf.
    """
    _check_block(block)
    number, place = divmod(index, block)
    if not 0 <= number < len(block_hashes):
        raise IndexError(f"no block {number} among {len(block_hashes)}")
    if root(block_leaves) != block_hashes[number]:
        raise ValueError(f"these are not the leaves of block {number}")
    return audit_path(block_leaves, place) + audit_path(block_hashes, number)


def _above(level: Sequence[bytes]) -> list[bytes]:
    joined = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
    if len(level) % 2:
        joined.append(level[-1])
    return joined


def _check_block(block: int) -> None:
    if block < 1 or block & (block - 1):
        raise ValueError(f"a block has a power of two of leaves, not {block}")
