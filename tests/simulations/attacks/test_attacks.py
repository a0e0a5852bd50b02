"""The four attacks against real nodes, masks, opener and noise in one process: they work on bare records, and stay within the
promise.

What fails here if a rule of the product fell: too little noise shows as more right guesses than the stated noise predicts, a budget
that does not refuse as more questions than fit.
"""

import json
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from audit_ledger.words import words
from privacy.pricing import price, reach
from privacy.rdp import share_variance
from privacy.sampler import draw
from privacy.tables import skellam_table
from protocols import statements as st
from protocols.asked import Asked, variance_text
from protocols.contract import CONTRACT
from protocols.query import QuerySpec
from protocols.secagg.masks import unmask
from simulations.attacks import ATTACKS, Asker, Attack, ExactAsker, Outcome, Refused, Told, shown
from simulations.attacks.allowed import allowed, best_by_noise, best_of_repeats, epsilon_of
from simulations.attacks.attack import LIMIT, LISTS, REPEATS, Averaging, Differencing, Membership
from simulations.attacks.planted import Month, write_records
from tests.hospital_node.support.nodes import Nodes

pytestmark = pytest.mark.statistical
HOSPITALS = 4
# Every comparison of a share over n trials allows five standard errors: a false alarm in 1.7 million runs, two-sided.
ERRORS = 5


@dataclass
class NodesAsker:
    """A curious bureau over the in-memory city: signed, logged, gated, charged, masked, opened."""

    world: Nodes

    def __call__(self, spec: QuerySpec, variance: Fraction) -> Told:
        asking = self.world.ask(spec.to_json(), {"variances": (variance_text(variance),)})
        refused = {str(reason) for node in self.world.nodes.values() for reason in asking.reasons(node)}
        if refused:
            raise Refused(sorted(refused))
        asking.all_ready()
        query = st.parse(asking.entry).statement
        assert isinstance(query, st.Query)
        asked, binding = Asked.of(query), asking.binding()
        request, masked = asking.request(binding)
        stream = np.frombuffer(asking.open(request), f"<u{binding.ring // 8}")
        values = unmask(masked, stream, binding.ring, reach(binding.n, binding.n, binding.c, asked.pieces))
        total = binding.n * share_variance(variance, binding.n, binding.c)
        return Told(values, total, price(CONTRACT.order, asked.pieces).one)


@dataclass(frozen=True)
class TooLittleNoise:
    """Broken on purpose: the noise's variance is this many times smaller than it states."""

    exact: ExactAsker
    times: int

    def __call__(self, spec: QuerySpec, variance: Fraction) -> Told:
        told = self.exact(spec, variance)
        return Told(told.values + draw(skellam_table(variance / self.times), len(told.values)), variance, Fraction(1, 10))


@pytest.fixture(scope="module")
def attacks() -> Sequence[Attack]:
    return [attack(Month(2025, number)) for number, attack in enumerate(ATTACKS, start=1)]


@pytest.fixture(scope="module")
def askers(attacks: Sequence[Attack], tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Asker, Asker]]:
    """The city, and the control over the same records."""
    world = Nodes(tmp_path_factory.mktemp("city"), HOSPITALS)
    folders = [node.home / "records" for node in world.nodes.values()]
    for folder in folders:
        shutil.rmtree(folder)
    write_records([visit for attack in attacks for visit in attack.visits()], folders)
    yield NodesAsker(world), ExactAsker(tuple(folders))
    world.close()


@pytest.fixture(scope="module")
def outcomes(attacks: Sequence[Attack], askers: tuple[Asker, Asker]) -> dict[str, Outcome]:
    return {attack.name: attack.run(*askers) for attack in attacks}


def _errors(share: float, trials: int) -> float:
    return ERRORS * math.sqrt(share * (1 - share) / trials)


NAMES = [attack(Month(2025, 1)).name for attack in ATTACKS]


@pytest.mark.parametrize("name", NAMES)
def test_an_attack_takes_every_secret_from_bare_records(outcomes: dict[str, Outcome], name: str) -> None:
    assert outcomes[name].without_noise == 1
    assert outcomes[name].targets > 900


@pytest.mark.parametrize("name", NAMES)
def test_an_attack_recovers_no_more_than_the_promise_allows(outcomes: dict[str, Outcome], name: str) -> None:
    for step in outcomes[name].steps:
        assert step.recovered - _errors(step.allowed, outcomes[name].targets) <= step.allowed
        assert step.price <= LIMIT


@pytest.mark.parametrize("name", NAMES)
def test_an_attack_recovers_what_the_stated_noise_predicts(outcomes: dict[str, Outcome], name: str) -> None:
    # Two-sided: an attack that guesses badly would prove nothing, and too little noise would show here first. Guesses about the
    # eleven districts of one group hang together a little, so the errors are taken as if a quarter of them were independent.
    found = outcomes[name]
    trials = found.targets / 4 if name == "covariance" else found.targets
    assert abs(found.recovered - found.by_noise) <= _errors(found.by_noise, trials) + 0.002


def test_the_budget_ends_an_averaging_attack(outcomes: dict[str, Outcome]) -> None:
    found = outcomes["averaging"]
    assert len(found.steps) == REPEATS
    assert found.refusal == ("budget.exhausted",)
    assert found.steps[-1].price > LIMIT * (REPEATS - 1) / REPEATS


def test_every_attack_spends_what_a_block_has_and_not_more(outcomes: dict[str, Outcome]) -> None:
    for found in outcomes.values():
        assert LIMIT * Fraction(99, 100) < found.steps[-1].price <= LIMIT


def test_noise_below_what_is_stated_is_noticed(attacks: Sequence[Attack], askers: tuple[Asker, Asker]) -> None:
    exact = askers[1]
    assert isinstance(exact, ExactAsker)
    membership = next(each for each in attacks if isinstance(each, Membership) and not isinstance(each, Averaging))
    found = membership.run(TooLittleNoise(exact, 4), exact)
    assert found.recovered > found.by_noise + _errors(found.by_noise, found.targets)
    assert not membership.run(TooLittleNoise(exact, 400), exact).is_within


def test_a_difference_of_two_answers_is_noisier_than_either(attacks: Sequence[Attack]) -> None:
    spec = next(each for each in attacks if isinstance(each, Differencing)).spec
    assert spec.cells_per_patient == 1
    assert best_by_noise(Fraction(20)) < best_by_noise(Fraction(10))


def test_what_is_allowed_lies_between_a_coin_and_certainty() -> None:
    assert allowed(0) == pytest.approx(0.5, abs=1e-6)
    assert allowed(3) == pytest.approx(0.9526, abs=1e-4)
    assert epsilon_of(CONTRACT.budget) == pytest.approx(3, abs=1e-4)
    assert epsilon_of(Fraction(0)) == 0


def test_the_best_guess_against_one_noise_is_that_of_one_repeat() -> None:
    assert best_of_repeats(Fraction(9), 1) == pytest.approx(best_by_noise(Fraction(9)), abs=0.002)
    assert best_of_repeats(Fraction(36), 4) == best_of_repeats(Fraction(9), 1)


@pytest.mark.parametrize(("lang", "word"), [("en", "covariance"), ("zh", "协方差重建")])
def test_the_table_says_every_share_in_the_reader_s_language(outcomes: dict[str, Outcome], lang: str, word: str) -> None:
    console = Console(file=StringIO(), width=120)
    console.print(shown.table(list(outcomes.values()), words(["--lang", lang], {})))
    assert isinstance(console.file, StringIO)
    printed = console.file.getvalue()
    assert word in printed
    for found in outcomes.values():
        assert f"{found.recovered:.1%} ± {found.half_width:.1%}" in printed


def test_the_figures_for_machines_and_the_chart_hold_every_attack(outcomes: dict[str, Outcome], tmp_path: Path) -> None:
    told = shown.as_json(list(outcomes.values()))
    assert [each["name"] for each in told["attacks"]] == NAMES
    assert [each["questions"] for each in told["attacks"]] == [1, REPEATS, 2, LISTS]
    assert json.loads(json.dumps(told)) == told
    shown.draw(list(outcomes.values()), tmp_path / "attacks.png")
    assert (tmp_path / "attacks.png").read_bytes().startswith(b"\x89PNG")
