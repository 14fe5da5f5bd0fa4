from collections.abc import Sequence
from hashlib import sha256

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rules.merkle import (
    BLOCK,
    EMPTY_ROOT,
    Blocks,
    audit_path,
    leaf_hash,
    node_hash,
    path_from_blocks,
    root,
    verify,
)

SIZES = range(71)


def naive_root(leaves: Sequence[str]) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return sha256(b"\x00" + leaves[0].encode()).digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return sha256(b"\x01" + naive_root(leaves[:split]) + naive_root(leaves[split:])).digest()


def naive_path(leaves: Sequence[str], index: int) -> list[bytes]:
    if len(leaves) <= 1:
        return []
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    if index < split:
        return [*naive_path(leaves[:split], index), naive_root(leaves[split:])]
    return [*naive_path(leaves[split:], index - split), naive_root(leaves[:split])]


def texts(size: int) -> list[str]:
    return [f"leaf {number}" for number in range(size)]


def hashes(size: int) -> list[bytes]:
    return [leaf_hash(text) for text in texts(size)]


def built(size: int, block: int) -> tuple[int, bytes, list[bytes]]:
    blocks = Blocks(block)
    for leaf in hashes(size):
        blocks.add([leaf])
    return blocks.finish()


@pytest.mark.parametrize("size", SIZES)
def test_the_root_and_every_path_are_those_of_the_rfc(size: int) -> None:
    assert root(hashes(size)) == naive_root(texts(size))
    for index in range(size):
        assert audit_path(hashes(size), index) == naive_path(texts(size), index)


def test_the_roots_are_those_that_others_publish() -> None:
    # The eight leaves of Certificate Transparency's own tests.
    inputs = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ]
    leaves = [sha256(b"\x00" + bytes.fromhex(text)).digest() for text in inputs]
    assert root(leaves).hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
    assert EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@pytest.mark.parametrize("size", SIZES)
def test_each_path_proves_its_leaf_and_nothing_else(size: int) -> None:
    top = root(hashes(size))
    for index, text in enumerate(texts(size)):
        path = audit_path(hashes(size), index)
        assert verify(text, index, size, path, top)
        assert not verify(text + "x", index, size, path, top)
        assert not verify(text, index, size, path, sha256(top).digest())
        assert not verify(text, index, size, [*path, top], top)
        assert not verify(text, -1, size, path, top)
        assert not verify(text, size, size, path, top)
        for step in range(len(path)):
            altered = [*path[:step], bytes([path[step][0] ^ 1]) + path[step][1:], *path[step + 1 :]]
            assert not verify(text, index, size, altered, top)
            assert not verify(text, index, size, path[:step] + path[step + 1 :], top)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 33, 64, 70])
def test_a_path_proves_one_index_only(size: int) -> None:
    top = root(hashes(size))
    for index, text in enumerate(texts(size)):
        path = audit_path(hashes(size), index)
        assert [other for other in range(size) if verify(text, other, size, path, top)] == [index]


@pytest.mark.parametrize("block", [1, 2, 4, 8])
def test_blocks_give_the_same_root_and_paths_as_the_whole_tree(block: int) -> None:
    for size in SIZES:
        tree_size, top, block_hashes = built(size, block)
        leaves = hashes(size)
        assert (tree_size, top) == (size, naive_root(texts(size)))
        assert len(block_hashes) == -(-size // block)
        for index in range(size):
            start = index // block * block
            path = path_from_blocks(leaves[start : start + block], block_hashes, index, block)
            assert path == audit_path(leaves, index)


@pytest.mark.parametrize("size", [BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 3 * BLOCK + 5])
def test_around_full_blocks_the_real_block_size_gives_the_same_root(size: int) -> None:
    tree_size, top, block_hashes = built(size, BLOCK)
    assert (tree_size, top) == (size, naive_root(texts(size)))
    last = size - 1
    start = last // BLOCK * BLOCK
    path = path_from_blocks(hashes(size)[start:], block_hashes, last)
    assert verify(f"leaf {last}", last, size, path, top)


def test_finishing_changes_nothing_and_more_leaves_may_follow() -> None:
    blocks = Blocks(2)
    for number, leaf in enumerate(hashes(5)):
        assert blocks.finish() == blocks.finish() == built(number, 2)
        blocks.add([leaf])
    assert blocks.finish() == built(5, 2)


def test_no_path_is_made_from_leaves_that_are_not_the_blocks() -> None:
    _, _, block_hashes = built(10, 4)
    leaves = hashes(10)
    with pytest.raises(ValueError, match="leaves of block 1"):
        path_from_blocks(leaves[:4], block_hashes, 5, 4)
    with pytest.raises(ValueError, match="leaves of block 1"):
        path_from_blocks([*leaves[4:7], leaf_hash("another")], block_hashes, 5, 4)
    for index in (-1, 10, 12):
        with pytest.raises(IndexError):
            path_from_blocks(leaves[8:], block_hashes, index, 4)
    with pytest.raises(ValueError, match="power of two"):
        Blocks(3)
    with pytest.raises(IndexError):
        audit_path(leaves, 10)


@settings(deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=8), min_size=1, max_size=40), st.data())
def test_no_alteration_loss_or_doubling_keeps_the_root(leaves: list[str], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(leaves) - 1))
    top = root([leaf_hash(text) for text in leaves])
    for other in (
        [*leaves[:index], leaves[index] + "!", *leaves[index + 1 :]],
        leaves[:index] + leaves[index + 1 :],
        [*leaves[: index + 1], *leaves[index:]],
    ):
        assert root([leaf_hash(text) for text in other]) != top


def test_a_node_is_never_taken_for_a_leaf() -> None:
    left, right = hashes(2)
    assert node_hash(left, right) != sha256(b"\x00" + left + right).digest()
