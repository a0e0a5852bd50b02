"""A question through real nodes, a real log, witness and opener, in one process."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from privacy.rdp import share_variance
from privacy.tables import skellam_table
from protocols.secagg.masks import unmask
from tests.hospital_node.support.nodes import DISTRICTS, Nodes, some_visits


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Nodes]:
    made = Nodes(tmp_path)
    yield made
    made.close()


def test_the_sum_of_all_contributions_is_the_city_s_exact_answer_within_the_noise(world: Nodes) -> None:
    asking = world.ask()
    asking.all_ready()
    binding = asking.binding()
    request, masked = asking.request(binding)
    stream = np.frombuffer(asking.open(request), f"<u{binding.ring // 8}")
    tail = 5 * skellam_table(share_variance(Fraction(400), 5, 1)).tail_bound
    values = unmask(masked, stream, binding.ring, 10**6)
    exact = np.zeros(len(values), np.int64)
    for number in range(5):
        for district in DISTRICTS:
            exact[
                sorted(
                    ("440103", "440104", "440105", "440106", "440111", "440112", "440113", "440114", "440115", "440117", "440118")
                ).index(district)
            ] += len({person for person, _, where in some_visits(number) if where == district})
    assert np.abs(values - exact).max() <= tail  # false alarms: below 2**-100
    assert (values != exact).any()
    assert world.city.findings() == []
