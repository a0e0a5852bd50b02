"""What a contribution holds under its masks and its noise: the exact vector, which one patient moves by no more than is charged."""

import os
import random
from collections.abc import Iterator
from datetime import date

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from hospital_node.counting import InstalledPlans
from hospital_node.journal import StoredContribution
from privacy.rdp import share_variance
from privacy.sampler import draw
from privacy.tables import skellam_table
from protocols import statements as st
from protocols.asked import Asked
from protocols.canonical import unb64
from protocols.query import QuerySpec
from protocols.secagg.agreement import AgreementKey
from protocols.secagg.binding import Binding
from protocols.secagg.masks import mask
from protocols.secagg.ring import Integers, from_ring
from protocols.secagg.sealing import query_context
from tests.hospital_node.support.nodes import Asking, Node, Nodes, Visit, some_visits, write_records


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    made = Nodes(tmp_path_factory.mktemp("neighbours"), 4)
    asking = made.ask()
    asking.all_ready()
    yield asking
    made.close()


def _stripped(asking: Asking, node: Node, made: StoredContribution, binding: Binding, noise_seed: int) -> Integers:
    """The exact vector: the masks taken off with the auditor's and the hospital's keys, the noise redrawn from the same source."""
    statement = st.parse(asking.readys[node.uri]).statement
    assert isinstance(statement, st.Ready)
    sealing = asking.world.opener.keys.find(statement.sealing.month)
    assert sealing is not None
    seed = sealing.open(made.sealed, query_context(binding.value, node.uri))
    own_seed = node.answering.journal.agreement_seed(statement.agreement.month)
    assert own_seed is not None
    own = AgreementKey(own_seed, statement.agreement.month)
    assert own.public == unb64(statement.agreement.key)
    pairs = [own.pair(node.uri, each.uri, each.agreement) for each in binding.members if each.uri != node.uri]
    masks = mask(np.zeros(binding.dimension, np.int64), binding.ring, binding.value, seed, pairs)
    noisy = from_ring(np.frombuffer(made.masked, f"<u{binding.ring // 8}") - masks, binding.ring)
    piece = Asked.of(_query(asking)).pieces[0]
    source = Recorded(noise_seed)
    source(32)  # for a bounding key, if there were none
    noise = draw(skellam_table(share_variance(piece.variance, binding.n, binding.c)), piece.length, source)
    source(32)  # for a bounding key at the member set
    assert source(32) == seed, "the noise is drawn behind the Ready, the seed for the member set"
    return noisy - noise


def _query(asking: Asking) -> st.Query:
    query = st.parse(asking.entry).statement
    assert isinstance(query, st.Query)
    return query


class Recorded:
    """Bytes that come again; only a test can pass such a source in."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def __call__(self, size: int) -> bytes:
        return self._random.randbytes(size)


def _exact(asking: Asking, node: Node) -> Integers:
    binding = asking.binding()
    node.answering.contributing.random = Recorded(7)
    node.answering.speculate(asking.id.hex(), 0.0)
    attempt = node.answering.accept(binding.encode())
    assert not isinstance(attempt, list), attempt
    made = node.answering.contribute(attempt, 30.0)
    node.answering.contributing.random = os.urandom
    return _stripped(asking, node, made, binding, 7)


def test_what_is_under_masks_and_noise_is_the_exact_vector(asking: Asking) -> None:
    node = asking.world.first()
    axis = QuerySpec.from_json(_query(asking).spec).grid().axes[0].labels
    expected = [len({p for p, _, where in some_visits(0) if where == label}) for label in axis]
    assert _exact(asking, node).tolist() == expected


EIGHT = ("440103", "440104", "440105", "440106", "440111", "440112", "440113", "440114")
# Few patients in many districts, so that most of them have more cells in a month than the four that count.
_visits = some.lists(
    some.tuples(some.integers(0, 1), some.dates(date(2026, 10, 1), date(2026, 11, 30)), some.sampled_from(EIGHT)),
    min_size=20,
    max_size=60,
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=_visits, removed=some.integers(0, 1), month=some.sampled_from([10, 11]))
def test_one_patient_s_rows_of_one_block_move_the_contribution_by_no_more_than_is_charged(
    asking: Asking, rows: list[Visit], removed: int, month: int
) -> None:
    """Through the real node: import, count, noise, masks; masks and noise are taken off again."""
    neighbour = [row for row in rows if not (row[0] == removed and row[1].month == month)]
    vectors = [_vector_over(asking, each) for each in (rows, neighbour)]
    piece, moved = Asked.of(_query(asking)).pieces[0], np.abs(vectors[0] - vectors[1])
    assert moved.sum() <= piece.l1
    assert (moved**2).sum() <= piece.l2_squared


def _vector_over(asking: Asking, rows: list[Visit]) -> Integers:
    """The contribution of a hospital that has these rows: the journal is turned back, which only a test can do."""
    node = asking.world.first()
    query = asking.id.hex()
    folder = node.home / f"records-{os.urandom(4).hex()}"
    write_records(folder, rows)
    node.answering.contributing.plans = InstalledPlans(folder)
    node.answering.counts._plans = node.answering.contributing.plans
    pinned = node.answering.contributing.plans.generation()
    node.answering.contributing.forget(query)
    node.answering.journal._write(lambda database: database.execute("DELETE FROM accepted"))
    node.answering.journal._write(lambda database: database.execute("UPDATE ready SET generation = ?", [pinned]))
    return _exact(asking, node)
