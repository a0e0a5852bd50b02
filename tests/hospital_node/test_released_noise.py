"""What a city releases is its hospitals' bounded sums and noise of the stated size, no more and no less.

Through real nodes, masks and the real opener: the noise is never frozen here. Against the bounded sums an error is noise alone;
against all records the rows that bounding left out would be in it too.
"""

import math
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from privacy.intervals import half_width
from privacy.pricing import reach
from privacy.rdp import share_variance
from privacy.tables import skellam_table
from protocols import statements as st
from protocols.asked import Asked
from protocols.query import QuerySpec
from protocols.secagg.binding import Binding
from protocols.secagg.masks import unmask
from protocols.secagg.ring import Integers
from simulations.exact import bounded_exact
from tests.hospital_node.support.nodes import Asking, Nodes

HOSPITALS = 6
MANY_CELLS = {
    "table": "visits",
    "measures": [{"kind": "count", "hi": 3}],
    "keys": [
        {"key": "iso_week"},
        {"key": "district"},
        {"key": "sex"},
        {"key": "age_band", "bands": "five_years"},
    ],
    "period": {"from": "2026-01-01", "to": "2026-12-01"},
}


def _errors(world: Nodes, asking: Asking, binding: Binding) -> Integers:
    """Of the released vector, against the bounded sums of the hospitals that are in it."""
    request, masked = asking.request(binding)
    stream_sum = np.frombuffer(asking.open(request), f"<u{binding.ring // 8}")
    released = unmask(masked, stream_sum, binding.ring, reach(binding.n, binding.n, binding.c, _asked(asking).pieces))
    counted = [world.nodes[each.uri] for each in binding.members]
    keys = {node.home / "records": node.answering.journal.bounding_key("2026", b"") for node in counted}
    return released - bounded_exact(QuerySpec.from_fields(MANY_CELLS), keys).vector


def _asked(asking: Asking) -> Asked:
    query = st.parse(asking.entry).statement
    assert isinstance(query, st.Query)
    return Asked.of(query)


@pytest.fixture(scope="module")
def errors(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Integers, Fraction]]:
    """The errors of one released vector, and the noise variance that its answer states."""
    world = Nodes(tmp_path_factory.mktemp("city"), HOSPITALS)
    asking = world.ask(MANY_CELLS)
    asking.all_ready()
    binding = asking.binding()
    yield _errors(world, asking, binding), HOSPITALS * share_variance(_asked(asking).pieces[0].variance, binding.n, binding.c)
    world.close()


@pytest.mark.statistical
def test_the_noise_of_a_release_is_as_wide_as_it_states_and_lies_around_nothing(errors: tuple[Integers, Fraction]) -> None:
    # Skellam noise of this width is normal to the eye: over n cells the mean square has a standard error of √(2/n), the mean one of
    # 1/√n, both of the width. Five of them each: a false alarm in 8·10^5 runs. A share too many or too few would be 100 of them.
    found, variance = errors
    scaled = found / math.sqrt(variance)
    assert len(found) > 20_000
    assert abs((scaled**2).mean() - 1) < 5 * math.sqrt(2 / len(found))
    assert abs(scaled.mean()) < 5 / math.sqrt(len(found))


@pytest.mark.statistical
def test_a_hospital_that_drops_out_takes_no_noise_with_it(tmp_path: Path) -> None:
    """Those who are left draw anew for as many as they are: without one colluder, still all that was asked.

    Had they kept the shares of the larger set, a fifth of the variance would be missing: 14 standard errors. Five of them are
    allowed: a false alarm in 1.7 million runs.
    """
    world = Nodes(tmp_path, HOSPITALS)
    asking = world.ask(MANY_CELLS)
    asking.all_ready()
    first = asking.binding()
    for uri in list(world.nodes)[1:]:
        asking.contribute(world.nodes[uri], first)
    asking.readys.pop(next(iter(world.nodes)))
    second = asking.binding(attempt=2)
    found, variance = _errors(world, asking, second), _asked(asking).pieces[0].variance
    stated = second.n * share_variance(variance, second.n, second.c)
    assert (second.n, second.c) == (HOSPITALS - 1, 1)
    assert stated * (second.n - second.c) / second.n >= variance
    assert abs((found**2).mean() / float(stated) - 1) < 5 * math.sqrt(2 / len(found))
    world.close()


@pytest.mark.statistical
def test_neighbouring_cells_do_not_share_their_noise(errors: tuple[Integers, Fraction]) -> None:
    # Sixty cells that shared some would make one question's error jump while the mean over all is right. For independent cells the
    # correlation at any distance has a standard error of 1/√n; 5.5 of them at 300 distances: a false alarm in 8·10^4 runs.
    found, _ = errors
    scaled = (found - found.mean()) / found.std()
    for distance in range(1, 301):
        pairs = scaled[distance:] * scaled[:-distance]
        assert abs(pairs.mean()) < 5.5 / math.sqrt(len(pairs)), distance


@pytest.mark.statistical
def test_the_interval_of_a_release_covers_the_bounded_sum_as_often_as_it_says(errors: tuple[Integers, Fraction]) -> None:
    # An integer interval covers at least 95 %, here at most 96.1 %; five standard errors of a binomial: an alarm in 3·10^6 runs.
    found, variance = errors
    inside, error = (np.abs(found) <= half_width(variance)).mean(), math.sqrt(0.95 * 0.05 / len(found))
    assert 0.95 - 5 * error < inside < 0.961 + 5 * error


def test_a_contribution_makes_no_table_of_noise_in_its_slot(tmp_path: Path) -> None:
    """A fit's table takes half a second: in the slot, that was an overrun of every hospital of a busy machine at once."""
    skellam_table.cache_clear()
    world = Nodes(tmp_path, HOSPITALS)
    asking = world.ask(entry_fields={"variances": ("1234567.0000",)})
    for uri, node in world.nodes.items():
        asking.log_ready(uri, asking.offer(node).envelope)
    made = skellam_table.cache_info().misses
    for node in world.nodes.values():
        node.bring()
    asking.request(asking.binding())
    assert made >= 1
    assert skellam_table.cache_info().misses == made
    world.close()
