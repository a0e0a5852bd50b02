"""When a contribution leaves is known before it is made: by the query, the round, the size class and the member set's arrival."""

import pytest

from hospital_node.config import Config
from hospital_node.slots import Departure, departure, slot_ms
from protocols.asked import Asked
from protocols.fits import Evaluated, FedAvgTraining, Training
from protocols.query import QuerySpec
from protocols.statements import Query
from tests.hospital_node.studies.specs import training
from tests.hospital_node.support.nodes import VISITS_BY_DISTRICT

CONFIG = Config(
    uri="kapok://hospital/h01", origin="a/b", coordinator="kapok://coordinator/c", link_address="h:1", legal_name="a", licence="1",
    slot_ms=1000, training_slot_ms=40,
)  # fmt: skip
ROUNDS = 5


def asked(spec: dict[str, object], rounds: int = ROUNDS) -> Asked:
    query = Query(
        log="city.example/1", at="2026-11-30T00:00:00Z", by="kapok://bureau/cdc", nonce="ab" * 32, purpose="research",
        programme=None, audience=tuple(f"kapok://hospital/h{number:02}" for number in range(4)), floor=4,
        valid_until="2026-12-06T00:00:00Z", rounds=rounds, spec=spec, variances=("4000000.0000",),
    )  # fmt: skip
    return Asked.of(query)


def trained(kind: type[Training] = Training, **changes: object) -> Asked:
    return asked(kind.model_validate({**training().to_json(), **changes}, strict=False).to_json())


def slots(question: Asked, config: Config = CONFIG) -> list[int]:
    return [slot_ms(config, question, number) for number in range(1, ROUNDS + 1)]


def test_a_training_s_first_round_waits_for_its_rows_as_long_as_a_count_and_its_steps_do_not() -> None:
    assert slots(trained()) == [1000, 40, 40, 40, 40]


def test_the_round_that_tests_the_model_has_the_slot_of_a_count() -> None:
    assert slots(trained(Evaluated, version=3, held_out="0.3")) == [1000, 40, 40, 40, 1000]


def test_a_round_of_local_steps_has_as_many_slots() -> None:
    local = trained(FedAvgTraining, version=3, fit="dp_fedavg", local_steps=3, sharpness=ROUNDS)
    assert slots(local) == [1000, 120, 120, 120, 120]


def test_where_none_is_stated_a_step_has_the_slot_of_a_count() -> None:
    assert slots(trained(), CONFIG.model_copy(update={"training_slot_ms": None})) == [1000] * ROUNDS


def test_no_other_question_has_the_slot_of_a_step() -> None:
    table = QuerySpec.from_fields(VISITS_BY_DISTRICT).to_json()
    fit = {"version": 1, "fit": "logistic", "table": "visits", "outcome": "IMP", "features": ["age", "male"]}
    fit["period"] = {"from": "2026-01-01", "to": "2026-02-01"}
    assert slot_ms(CONFIG, asked(table, 1), 0) == 1000
    assert slots(asked(fit)) == [1000] * ROUNDS


def test_a_larger_size_class_has_longer_slots() -> None:
    assert slots(trained(), CONFIG.model_copy(update={"size_class": 18})) == [1000, 40, 40, 40, 40]
    assert slots(trained(), CONFIG.model_copy(update={"size_class": 23})) == [8000, 320, 320, 320, 320]


@pytest.mark.parametrize("arrived", [0, 1, 24, 25, 1013])
def test_a_contribution_leaves_at_the_first_point_of_the_grid_behind_its_slot(arrived: int) -> None:
    leaves = departure(arrived, 100, 25).leaves_at_ms
    assert leaves % 25 == 0
    assert 0 <= leaves - arrived - 100 < 25


@pytest.mark.parametrize("arrived", [0, 1, 24, 25, 1013])
@pytest.mark.parametrize("waited", [0, 1, 74, 76, 99, 100, 101, 10_000])
def test_of_a_slot_that_began_with_the_ready_only_the_rest_is_waited_for(arrived: int, waited: int) -> None:
    when = departure(arrived, 100, 25, waited)
    assert when.leaves_at_ms % 25 == 0
    assert when.counted_by_ms == max(arrived, arrived - waited + 100)
    assert 0 <= when.leaves_at_ms - when.counted_by_ms < 25


def test_what_is_kept_of_a_slot_is_not_the_count_s() -> None:
    assert departure(1000, 100, 25, 0, 30.0) == Departure(1070.0, 1100)
