"""A question through real nodes, a real log, witness and opener, in one process."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from privacy.rdp import share_variance
from privacy.tables import skellam_table
from protocols.fit import FitSpec, encode_weights
from protocols.query import QuerySpec
from protocols.secagg.masks import unmask
from tests.hospital_node.support.nodes import VISITS_BY_DISTRICT, Nodes, some_visits


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Nodes]:
    made = Nodes(tmp_path)
    yield made
    made.close()


def test_the_opened_sum_is_the_exact_answer_of_the_city_within_the_noise(world: Nodes) -> None:
    asking = world.ask()
    asking.all_ready()
    binding = asking.binding()
    request, masked = asking.request(binding)
    stream = np.frombuffer(asking.open(request), f"<u{binding.ring // 8}")
    tail = 5 * skellam_table(share_variance(Fraction(400), 5, 1)).tail_bound
    values = unmask(masked, stream, binding.ring, 10**6)
    axis = QuerySpec.from_fields(VISITS_BY_DISTRICT).grid().axes[0].labels
    visits = [some_visits(number) for number in range(5)]
    exact = np.array([sum(len({p for p, _, where in each if where == label}) for each in visits) for label in axis])
    assert np.abs(values - exact).max() <= tail  # the table holds no larger noise
    assert (values != exact).any()  # false alarm: all of 11 draws of variance 400 are zero, below 2**-50
    assert world.city.findings() == []


FIT = {"version": 1, "fit": "logistic", "table": "visits", "outcome": "AMB", "features": ["male"],
       "period": {"from": "2026-10-01", "to": "2026-12-01"}}  # fmt: skip


def test_rounds_of_a_training_open_and_the_receipt_chains_them(world: Nodes) -> None:
    asking = world.ask(entry_fields={"spec": FIT, "rounds": 2, "variances": (f"{1024**2 * 50}.0000",)})
    asking.all_ready()
    weights = encode_weights(np.zeros(len(FitSpec.from_json(FIT).columns)))
    for number in (1, 2):
        binding = asking.binding(round=number, round_input=weights)
        request, masked = asking.request(binding, weights)
        core = world.opener
        world.city.bring(core)
        reply = core.open(request, world.city.now)
        assert list(reply.refusals) == [], number
        if reply.opening is not None and number == 1:
            world.city.log_entry(reply.opening)
            world.city.bring(core)
        found = core.release(reply.query, number, world.city.now)
        assert isinstance(found, bytes)
        values = unmask(masked, np.frombuffer(found, f"<u{binding.ring // 8}"), binding.ring, 2**62)
        assert len(values) == FitSpec.from_json(FIT).width
