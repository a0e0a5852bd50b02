"""What a replay remembers in little memory is what the whole tree, and a plain dictionary, would say."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_ledger.history import Digests, Roots
from audit_ledger.tree import FullTree

KEPT = 1024


def leaf(index: int) -> bytes:
    return hashlib.sha256(b"%d" % index).digest()


def test_the_roots_are_those_of_the_whole_tree_and_old_sizes_are_unknown() -> None:
    tree, roots = FullTree(), Roots(KEPT)
    for index in range(4 * KEPT + 300):
        tree.append(leaf(index))
        roots.append(leaf(index))
        if index + 1 in (1, 2, 255, 256, 257, KEPT, KEPT + 1, 2 * KEPT, 2 * KEPT + 1, 3 * KEPT):
            assert roots.get(index + 1) == tree.root() == roots.range().root()
    oldest = tree.size - KEPT
    for size in (oldest + 1, 4 * KEPT - 1, 4 * KEPT, 4 * KEPT + 1, tree.size - 1, tree.size):
        assert roots.get(size) == tree.root(size)
    assert [roots.get(size) for size in (0, -1, oldest, tree.size + 1)] == [None] * 4
    again = Roots.decode(roots.encode(), KEPT)
    assert (again.size, again.get(tree.size), again.get(oldest + 1)) == (tree.size, tree.root(), tree.root(oldest + 1))
    again.append(leaf(tree.size))
    tree.append(leaf(tree.size))
    assert again.get(tree.size) == tree.root()


@pytest.mark.parametrize("raw", [b"", bytes(7), bytes(9), (9).to_bytes(8, "big") + bytes(32)])
def test_other_bytes_are_no_history(raw: bytes) -> None:
    with pytest.raises(ValueError, match="not a history"):
        Roots.decode(raw)


@given(st.lists(st.binary(min_size=32, max_size=32), unique=True), st.binary(min_size=32, max_size=32))
def test_the_digests_are_a_dictionary(digests: list[bytes], other: bytes) -> None:
    plain = {each: 2**32 - 1 - index for index, each in enumerate(digests)}
    kept = Digests()
    for each, index in plain.items():
        kept.add(each, index)
    assert {each: kept[each] for each in kept} == plain
    assert (len(kept), other in kept, kept.get(other)) == (len(plain), other in plain, plain.get(other))
    assert Digests.decode(kept.encode()) == kept


def test_a_digest_that_lies_across_two_others_is_not_found() -> None:
    kept, one, two = Digests(), b"ab" + bytes(28) + b"ab", b"ab" + b"\x01" * 30
    kept.add(one, 7)
    kept.add(two, 8)
    across = b"ab" + (7).to_bytes(4, "big") + two[:26]
    assert across not in kept
    with pytest.raises(KeyError, match=across.hex()):
        kept[across]
    with pytest.raises(ValueError, match="not a map of digests"):
        Digests.decode(bytes(35))
