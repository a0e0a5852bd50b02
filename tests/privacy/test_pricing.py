"""The price of a whole release, and the room its sum needs in the ring."""

from dataclasses import dataclass
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from privacy.filter import CHARGE_GRID, charge_on_grid
from privacy.pricing import price, reach
from privacy.rdp import share_variance, skellam_rdp
from privacy.tables import skellam_table


@dataclass(frozen=True)
class Stretch:
    l1: int
    l2_squared: int
    variance: Fraction
    cell_max: int


COUNT = Stretch(4, 4, Fraction(1601), 5_000_000)
STAY = Stretch(120, 3600, Fraction(10**6), 150_000_000)


def test_a_piece_costs_its_price_on_the_grid_and_a_second_hospital_four_times_the_squares():
    priced = price(8, [COUNT])
    assert priced.one == charge_on_grid(skellam_rdp(8, 4, 4, COUNT.variance))
    assert priced.two == charge_on_grid(skellam_rdp(8, 8, 16, COUNT.variance))


@given(st.lists(st.sampled_from([COUNT, STAY]), min_size=1, max_size=6), st.integers(2, 64))
def test_pieces_add_up_and_are_rounded_up_once(pieces, order):
    apart = sum(skellam_rdp(order, piece.l1, piece.l2_squared, piece.variance) for piece in pieces)
    assert apart <= price(order, pieces).one < apart + CHARGE_GRID
    assert price(order, pieces).two > 3 * price(order, pieces).one


def test_no_sum_of_honest_members_passes_the_reach():
    members, n, colluders = 7, 6, 1
    tail = skellam_table(share_variance(STAY.variance, n, colluders)).tail_bound
    assert reach(members, n, colluders, [COUNT, STAY]) == members * (STAY.cell_max + tail)
