"""Heart disease at four real hospitals: what distributed DP-SGD must reach on FLamby's splits, with twenty trainings each."""

from fractions import Fraction

import numpy as np
import pytest

from privacy.filter import encode_charge
from privacy.pricing import price
from protocols.asked import Piece
from simulations import heart_training as heart
from tests.hospital_node.records.resources import SHARED

FOLDER = SHARED / "uci_heart"
needs_table = pytest.mark.skipif(not FOLDER.exists(), reason="the UCI heart table is not beside the repository")


@needs_table
@pytest.mark.statistical
@pytest.mark.parametrize(("setting", "least"), [(heart.ONE, 0.75), (heart.TENTH, 0.68)], ids=["epsilon 1", "epsilon 0.1"])
def test_the_mean_accuracy_passes_its_bar_by_the_wider_of_two_lower_bounds(setting: heart.Setting, least: float) -> None:
    """The bound of the splits alone lies 0.02 above the bar, six of its own standard errors: a false alarm is below 1e-6."""
    found = heart.accuracies(setting, heart.read(FOLDER), 20)
    assert found.shape == (5, 20)
    assert min(heart.lower_bounds(found)) >= least


@needs_table
def test_the_table_is_read_as_published() -> None:
    assert [(len(y), int(y.sum())) for _, y in heart.read(FOLDER)] == [(303, 139), (261, 98), (46, 45), (130, 101)]


@pytest.mark.parametrize("setting", [heart.ONE, heart.TENTH], ids=["epsilon 1", "epsilon 0.1"])
def test_all_rounds_together_cost_the_budget_of_the_stated_epsilon_at_the_order_fixed_beforehand(setting: heart.Setting) -> None:
    spec = heart.training_of(setting, 486)
    piece = Piece(spec.width, spec.l1, spec.l2_squared, heart.variance_of(setting, spec), spec.cell_max, spec.rate)
    charged = price(setting.order, [piece], setting.rounds).one
    allowed = heart.budget_for(setting.epsilon, heart.DELTA, setting.order)
    assert Fraction(99, 100) * allowed < charged <= allowed + Fraction(1, 10**9), encode_charge(charged)


def test_a_split_is_scikit_learns() -> None:
    """`train_test_split(range(60), test_size=1 - 0.66, train_size=0.66, random_state=43, stratify=outcome)`, its first numbers."""
    learn, test = heart.split((np.arange(60) % 3 == 0).astype(float), 43)
    assert (len(learn), learn[:4].tolist(), len(test), test[:4].tolist()) == (39, [3, 50, 37, 56], 21, [0, 9, 6, 24])
    assert set(learn) | set(test) == set(range(60))


def test_a_hospital_with_one_patient_of_a_class_is_split_without_strata() -> None:
    learn, test = heart.split(np.r_[np.ones(45), 0.0], 43)
    assert (len(learn), learn[:4].tolist(), len(test), test[:4].tolist()) == (30, [9, 37, 10, 36], 16, [29, 32, 20, 40])
