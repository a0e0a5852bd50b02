"""The Merkle tree: reference vectors, a naive tree beside ours, and proofs that must not pass."""

from collections.abc import Sequence
from functools import cache
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_ledger.errors import BadProof
from audit_ledger.tree import (
    EMPTY_ROOT,
    CompactRange,
    FullTree,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root_at,
    verify_consistency,
    verify_inclusion,
)
from tests.audit_ledger import known

SIZE = 70


@cache
def tree() -> FullTree:
    grown = FullTree()
    grown.extend(leaf_hash(entry) for entry in known.numbered(SIZE))
    return grown


def naive_root(entries: Sequence[bytes]) -> bytes:
    """RFC 6962 §2.1 word by word."""
    if not entries:
        return sha256(b"").digest()
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0]).digest()
    k = 1
    while k * 2 < len(entries):
        k *= 2
    return sha256(b"\x01" + naive_root(entries[:k]) + naive_root(entries[k:])).digest()


def reference_tree() -> FullTree:
    grown = FullTree()
    grown.extend(leaf_hash(leaf) for leaf in known.LEAVES)
    return grown


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_the_reference_tree(size: int) -> None:
    compact = CompactRange()
    for leaf in known.LEAVES[:size]:
        compact.append(leaf_hash(leaf))
    assert compact.root().hex() == known.ROOTS[size]
    assert reference_tree().root(size).hex() == known.ROOTS[size]


def test_proofs_are_those_of_the_reference_tree() -> None:
    read = reference_tree().read
    assert [step.hex() for step in consistency_proof(3, 7, read)] == known.CONSISTENCY_3_7
    assert [step.hex() for step in consistency_proof(6, 8, read)] == known.CONSISTENCY_6_8
    assert [step.hex() for step in inclusion_proof(6, 7, read)] == known.INCLUSION_6_7


def test_roots_of_numbered_entries_are_the_known_ones_at_every_tile_edge() -> None:
    compact, full = CompactRange(), FullTree()
    for entry in known.numbered(70_000):
        compact.append(leaf_hash(entry))
        full.append(leaf_hash(entry))
        if compact.size in known.NUMBERED_ROOTS:
            assert compact.root().hex() == known.NUMBERED_ROOTS[compact.size]
            assert full.root().hex() == known.NUMBERED_ROOTS[compact.size]
    for size in (65_535, 65_536, 65_537):
        proof = consistency_proof(size, 70_000, full.read)
        verify_consistency(size, 70_000, proof, full.root(size), full.root())


@pytest.mark.parametrize("size", range(SIZE + 1))
def test_both_trees_agree_with_the_definition(size: int) -> None:
    assert tree().root(size) == naive_root(known.numbered(size))


def test_every_inclusion_proof_verifies_and_no_other_length_does() -> None:
    for size in range(1, SIZE + 1):
        for index in range(size):
            proof = inclusion_proof(index, size, tree().read)
            leaf, root = tree().read(0, index), tree().root(size)
            verify_inclusion(leaf, index, size, proof, root)
            for wrong in (proof[:-1], [*proof, root], [*proof, proof[-1] if proof else leaf]):
                if wrong != proof:
                    with pytest.raises(BadProof):
                        verify_inclusion(leaf, index, size, wrong, root)


def test_every_consistency_proof_verifies_and_no_other_length_does() -> None:
    for new in range(SIZE + 1):
        for old in range(new + 1):
            proof = consistency_proof(old, new, tree().read)
            roots = tree().root(old), tree().root(new)
            verify_consistency(old, new, proof, *roots)
            for wrong in (proof[:-1], [*proof, roots[1]], [roots[0], *proof]):
                if wrong != proof:
                    with pytest.raises(BadProof, match="hashes"):
                        verify_consistency(old, new, wrong, *roots)


@given(st.data())
def test_a_changed_inclusion_claim_is_refused(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, SIZE))
    index = data.draw(st.integers(0, size - 1))
    proof, root, leaf = inclusion_proof(index, size, tree().read), tree().root(size), tree().read(0, index)
    kind = data.draw(st.sampled_from(["leaf", "root", "index", "size", "step", "order"]))
    if kind == "leaf":
        leaf = leaf_hash(b"another")
    elif kind == "root":
        root = tree().root(data.draw(st.integers(0, SIZE).filter(lambda other: other != size)))
    elif kind == "index":
        index = data.draw(st.integers(-2, size + 2).filter(lambda other: other != index))
    elif kind == "size":
        other = data.draw(st.integers(0, SIZE).filter(lambda other: other != size))
        size, root = other, tree().root(other)
        if 0 <= index < other and inclusion_proof(index, other, tree().read) == proof:
            return
    elif kind == "step" and proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        proof[at] = data.draw(st.binary(max_size=40).filter(lambda other: other != proof[at]))
    elif kind == "order" and len(proof) > 1:
        proof.reverse()
    else:
        return
    with pytest.raises(BadProof):
        verify_inclusion(leaf, index, size, proof, root)


@given(st.data())
def test_a_changed_consistency_claim_is_refused(data: st.DataObject) -> None:
    new = data.draw(st.integers(2, SIZE))
    old = data.draw(st.integers(1, new - 1))
    proof = consistency_proof(old, new, tree().read)
    old_root, new_root = tree().root(old), tree().root(new)
    kind = data.draw(st.sampled_from(["old root", "new root", "step", "swapped sizes", "old", "new"]))
    if kind == "old root":
        old_root = leaf_hash(b"another")
    elif kind == "new root":
        new_root = leaf_hash(b"another")
    elif kind == "step":
        at = data.draw(st.integers(0, len(proof) - 1))
        proof[at] = data.draw(st.binary(max_size=40).filter(lambda other: other != proof[at]))
    elif kind == "swapped sizes":
        old, new = new, old
    elif kind == "old":
        old = data.draw(st.integers(1, new).filter(lambda other: other != old))
    else:
        other = data.draw(st.integers(old, SIZE).filter(lambda other: other != new))
        if consistency_proof(old, other, tree().read) == proof:
            return
        new, new_root = other, tree().root(other)
    with pytest.raises(BadProof):
        verify_consistency(old, new, proof, old_root, new_root)


def test_the_empty_tree_has_one_root_only() -> None:
    verify_consistency(0, 5, [], EMPTY_ROOT, tree().root(5))
    with pytest.raises(BadProof, match="the empty tree has another root"):
        verify_consistency(0, 5, [], tree().root(1), tree().root(5))


def test_two_roots_at_one_size_are_a_fork() -> None:
    with pytest.raises(BadProof, match="two roots at one size 5"):
        verify_consistency(5, 5, [], tree().root(5), tree().root(6))


def test_a_lone_right_node_is_carried_up_unhashed() -> None:
    left, right = leaf_hash(b"a"), leaf_hash(b"b")
    lone = leaf_hash(b"c")
    grown = FullTree()
    grown.extend([left, right, lone])
    assert grown.root() == node_hash(node_hash(left, right), lone)


@given(st.lists(st.integers(0, 9), max_size=14))
def test_a_tree_that_grew_in_pieces_is_the_one_that_was_made_at_once(pieces: list[int]) -> None:
    leaves, grown = [leaf_hash(entry) for entry in known.numbered(SIZE)], FullTree()
    for piece in pieces:
        coming = leaves[grown.size :][:piece]
        if len(coming) == 1:
            grown.append(*coming)
        else:
            grown.extend(coming)
    once = FullTree()
    once.extend(leaves[: grown.size])
    assert (grown.size, grown.peaks()) == (once.size, once.peaks())
    assert all(grown.root(each) == tree().root(each) for each in range(grown.size + 1))


@given(st.integers(0, SIZE), st.integers(0, SIZE))
def test_a_compact_range_goes_on_where_it_was_stored(first: int, more: int) -> None:
    compact = CompactRange()
    for entry in known.numbered(first):
        compact.append(leaf_hash(entry))
    again = CompactRange.decode(compact.encode())
    for entry in known.numbered(more, start=first):
        again.append(leaf_hash(entry))
    assert again.root() == naive_root(known.numbered(first + more))


def test_a_stored_compact_range_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="needs 2 hashes"):
        CompactRange.decode((3).to_bytes(8, "big") + bytes(32))


def test_an_incomplete_subtree_has_no_hash() -> None:
    with pytest.raises(IndexError, match="not complete"):
        tree().read(6, 1)


def test_the_tree_proves_nothing_beyond_its_size() -> None:
    with pytest.raises(ValueError, match="no leaf 5"):
        inclusion_proof(5, 5, tree().read)
    with pytest.raises(ValueError, match="cannot grow"):
        consistency_proof(6, 5, tree().read)
    assert root_at(0, tree().read) == EMPTY_ROOT
