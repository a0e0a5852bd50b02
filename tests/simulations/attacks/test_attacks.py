"""The four attacks against real nodes, masks, opener and noise in one process: they work on bare records, and stay within the
promise.

What fails here if a rule of the product fell: too little noise shows as more right guesses than the stated noise predicts, a budget
that does not refuse as more questions than fit.
"""

import json
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
from simulations.attacks import Asker, Attack, ExactAsker, Outcome, Refused, Told, attacks_of, shown
from simulations.attacks.allowed import allowed, best_by_noise, epsilon_of
from simulations.attacks.attack import ERRORS, LIMIT, LISTS, REPEATS, Averaging, Membership
from simulations.attacks.planted import write_records
from tests.hospital_node.support.nodes import Nodes

pytestmark = pytest.mark.statistical
HOSPITALS = 4
# Every comparison of a share over n trials allows five standard errors (`ERRORS`): a false alarm in 1.7 million runs, two-sided.


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
    return attacks_of(2025)


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


NAMES = [attack.name for attack in attacks_of(2025)]


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
    # Two-sided: an attack that guesses badly would prove nothing, and too little noise would show here first. Five standard errors
    # of each attack's trials, five attacks: a false alarm in 340,000 runs. For differencing they are 2.6 % of the guesses,
    # for covariance, whose guesses are taken for a quarter of their number, 7 %.
    found = outcomes[name]
    assert found.is_as_predicted, (found.recovered, found.by_noise, found.targets)
    assert ERRORS * math.sqrt(found.by_noise * (1 - found.by_noise) * found.together / found.targets) < 0.08


def test_a_share_five_errors_from_what_is_predicted_is_not_as_predicted(outcomes: dict[str, Outcome]) -> None:
    found = outcomes["differencing"]
    error = math.sqrt(found.by_noise * (1 - found.by_noise) / found.targets)
    for away, is_as_predicted in ((4.9, True), (5.1, False), (-4.9, True), (-5.1, False)):
        moved = replace(found, steps=(replace(found.steps[-1], recovered=found.by_noise + away * error),))
        assert moved.is_as_predicted == is_as_predicted


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


def _guessed(variance: Fraction, moved: int) -> float:
    """The right share of guesses, secret by secret and noise by noise: the definition itself."""
    table = skellam_table(variance)
    noise = range(-table.tail_bound, table.tail_bound + 1)
    chance = {each: float(table.cumulative(each) - table.cumulative(each - 1)) for each in noise}
    return sum(chance[each] * ((each + moved * secret > moved / 2) == bool(secret)) / 2 for each in noise for secret in (0, 1))


@pytest.mark.parametrize("moved", [1, 2, 3, 6, 7])
@pytest.mark.parametrize("variance", [Fraction(1, 16), Fraction(1), Fraction(51, 4), Fraction(153, 2), Fraction(900)])
def test_the_prediction_is_the_chance_of_every_noise_and_secret_ties_included(variance: Fraction, moved: int) -> None:
    assert best_by_noise(variance, moved) == pytest.approx(_guessed(variance, moved), abs=1e-12)


def test_the_noise_of_a_difference_is_that_of_both_answers() -> None:
    """The difference of two Skellam draws by convolution; and one draw's noise alone would predict too much."""
    variance = Fraction(51, 4)
    table = skellam_table(variance)
    chance = [float(table.cumulative(each) - table.cumulative(each - 1)) for each in range(-table.tail_bound, table.tail_bound + 1)]
    both = np.convolve(chance, chance[::-1])
    assert best_by_noise(2 * variance) == pytest.approx((1 + both[len(both) // 2]) / 2, abs=1e-12)
    assert best_by_noise(variance) > best_by_noise(2 * variance) + 0.01


def test_what_is_asked_for_is_predicted_too_high_by_the_noise_of_those_assumed_to_collude() -> None:
    """c of n shares are noise against an outsider: n/(n - c) times what was asked, which a prediction has to count."""
    asked = Fraction(10)
    stated = 4 * share_variance(asked, 4, 1)
    assert stated >= asked * Fraction(4, 3)
    assert best_by_noise(stated) < best_by_noise(asked)


def test_what_is_allowed_lies_between_a_coin_and_certainty() -> None:
    assert allowed(0) == pytest.approx(0.5, abs=1e-6)
    assert allowed(3) == pytest.approx(0.9526, abs=1e-4)
    assert epsilon_of(CONTRACT.budget) == pytest.approx(3, abs=1e-4)
    assert epsilon_of(Fraction(0)) == 0


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
