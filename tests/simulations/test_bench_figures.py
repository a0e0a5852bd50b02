"""What the benchmarks measure is the thing itself: masks cancel, noise is as wide as stated, steps and counts are read right."""

import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from protocols.errors import ProtocolError
from protocols.union import blinded
from simulations.bench import accuracy, latency, residents, secagg
from simulations.processes import Services
from simulations.town import Town


def test_the_measured_round_gives_the_sum_of_its_members() -> None:
    round_ = secagg.found_round(members=5)
    assert (round_.run() == 5 * round_.parties[0].vector).all()


def test_the_measured_round_sees_a_member_that_masks_for_another_binding() -> None:
    round_ = secagg.found_round(members=5)
    sent = [round_._contribute(party) for party in round_.parties]
    total = round_._open(sent)
    sent[0].masked[0] += np.uint32(1)
    with pytest.raises(AssertionError, match="not the one of its receipt"):
        round_._aggregate(sent, total)


def test_the_measured_auditor_opens_no_seed_of_another_member() -> None:
    round_ = secagg.found_round(members=5)
    sent = [round_._contribute(party) for party in round_.parties]
    swapped = [secagg.Sent(sent[0].uri, sent[1].sealed, sent[0].receipt, sent[0].masked), *sent[1:]]
    with pytest.raises(ProtocolError):
        round_._open(swapped)


def test_the_measured_zero_test_finds_equal_sums_empty_and_says_so_where_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(residents, "BUCKETS", 16)
    assert all(row.ours > 0 for row in residents.rows(is_quick=True))
    monkeypatch.setattr(residents, "blinded", lambda public, encrypted, seeds, *more: blinded(public, encrypted, seeds + 1, *more))
    with pytest.raises(AssertionError, match="not counted as empty"):
        residents.rows(is_quick=True)


@pytest.mark.statistical
def test_the_measured_error_is_that_of_everybody_s_shares() -> None:
    # 500,000 cells: the RMSE's standard error is 0.1 %; 0.6 % is six of them, a false alarm in 10^8 runs.
    found = accuracy.measure(12, Fraction(144), np.zeros(500, np.int64), 1_000)
    assert found.ours == pytest.approx(12 * math.sqrt(8 / 6), rel=0.006)
    assert found.central == pytest.approx(12, rel=0.006)
    assert found.ratio == pytest.approx(1, rel=0.01)


def test_the_central_mechanism_costs_what_the_release_costs() -> None:
    # At wide noise the two mechanisms differ by less than a thousandth; below, the central one may be narrower, never wider.
    assert accuracy._central_variance(40, 4, 4) == pytest.approx(1600, rel=1e-2)
    assert accuracy._central_variance(4, 4, 4) < 16


def _timed(steps: dict[str, float]) -> latency.Timed:
    return latency.Timed("q", 0.5, steps, counting_s=0.125, counted_s=0.25, contributing_s=0.0625)


def test_a_question_s_time_is_the_client_s_less_the_slowest_count() -> None:
    assert _timed({"total": 0.4}).beside_counting_s == 0.375


def test_steps_are_summed_without_their_total() -> None:
    assert _timed({"open": 0.25, "release": 0.125, "total": 0.4}).sum_of_steps == 0.375


def test_steps_that_do_not_sum_to_the_total_miss_their_bar() -> None:
    rows = latency._whole([_timed({"open": 0.3, "total": 0.4})], 100)
    assert [row.ok for row in rows if row.name.startswith("steps")] == [False]


def test_the_slot_leaves_room_above_the_slowest_count_from_its_ready_on() -> None:
    slow, quick = _timed({"total": 0.4}), latency.Timed("q", 0.5, {"total": 0.4}, 0.125, 0.125, 0.0625)
    assert latency._slot_for([quick, slow]) == 375


def _town(folder: Path, counts: dict[str, list[dict[str, object]]]) -> Town:
    town = Town(folder, dict.fromkeys(counts, folder), Services(folder))
    for name, lines in counts.items():
        town.trace(name).parent.mkdir(exist_ok=True)
        town.trace(name).write_text("".join(json.dumps(line) + "\n" for line in lines))
    return town


def test_the_slowest_count_is_taken_over_all_nodes_and_this_question(tmp_path: Path) -> None:
    town = _town(
        tmp_path,
        {"a": [{"query": "q", "counting_s": 0.1}], "b": [{"query": "q", "counting_s": 0.2}, {"query": "p", "counting_s": 9}]},
    )
    assert latency.slowest_s(town, "q", "counting_s") == 0.2


def test_a_question_that_a_node_answered_without_its_count_is_not_measured(tmp_path: Path) -> None:
    town = _town(tmp_path, {"a": [{"query": "q", "counting_s": 0.1}], "b": [{"query": "q", "masking_s": 0.1}]})
    with pytest.raises(latency.Overrun):
        latency.slowest_s(town, "q", "counting_s")
