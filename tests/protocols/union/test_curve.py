"""Sums and multiples of P-256 against published points, OpenSSL, and a slow second implementation."""

import secrets

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from protocols.union.curve import (
    CURVE,
    FIELD,
    ORDER,
    BadPoint,
    Multiples,
    base_multiple,
    negative,
    require_point,
    sums,
    x_of_lifted,
    x_of_multiples,
)

# NIST's published multiples of the base point of P-256 (nist.gov, "Mathematical routines for the NIST prime elliptic curves").
TWO = (
    0x7CF27B188D034F7E8A52380304B51AC3C08969E277F21B35A60B48FC47669978,
    0x07775510DB8ED040293D9AC69F7430DBBA7DADE63CE982299E04B79D227873D1,
)
THREE = (
    0x5ECBE4D1A6330A44C8F7EF951D4BF165E6C6B721EFADA985FB41661BC6E7FD6C,
    0x8734640C4998FF7E374B06CE1A64A2ECD82AB036384FB83D9A79B127A27D5032,
)


def _scalar() -> int:
    return secrets.randbelow(ORDER - 1) + 1


def test_multiples_of_the_base_are_the_published_ones() -> None:
    assert base_multiple(2) == TWO
    assert base_multiple(3) == THREE
    assert sums([base_multiple(1)], [TWO]) == [THREE]


def test_the_negative_of_a_point_is_the_multiple_by_order_less_one() -> None:
    assert base_multiple(ORDER - 1) == negative(base_multiple(1))


def test_sums_of_many_pairs_are_the_multiples_of_their_sums() -> None:
    pairs = [(_scalar(), _scalar()) for _ in range(50)]
    found = sums([base_multiple(a) for a, _ in pairs], [base_multiple(b) for _, b in pairs])
    assert found == [base_multiple((a + b) % ORDER) for a, b in pairs]


def test_a_table_of_multiples_gives_what_openssl_gives() -> None:
    secret, scalars = _scalar(), [1, 2, 255, 256, 257, ORDER - 1, *(_scalar() for _ in range(40))]
    assert Multiples(base_multiple(secret)).of(scalars) == [base_multiple(secret * each % ORDER) for each in scalars]


def test_an_x_comes_back_by_multiplying_with_the_inverse() -> None:
    scalar, point = _scalar(), base_multiple(_scalar())
    [x] = x_of_multiples(scalar, [point])
    back = ec.derive_private_key(pow(scalar, -1, ORDER), CURVE)
    assert x_of_lifted(back, x) == point[0].to_bytes(32)


@pytest.mark.parametrize(("first", "second"), [(TWO, TWO), (TWO, negative(TWO))])
def test_a_sum_that_the_formula_does_not_know_raises(first: tuple[int, int], second: tuple[int, int]) -> None:
    with pytest.raises(BadPoint, match="one x to add"):
        sums([THREE, first], [TWO, second])


@pytest.mark.parametrize("point", [(0, 0), (1, 1), (TWO[0], THREE[1]), (TWO[0] + FIELD, TWO[1]), (TWO[0], -TWO[1])])
def test_what_is_not_on_the_curve_is_refused(point: tuple[int, int]) -> None:
    with pytest.raises(BadPoint, match="not on the curve"):
        require_point(*point)


def test_an_x_of_no_point_is_refused() -> None:
    key = ec.derive_private_key(5, CURVE)
    # 5 is the x of a point, 1 is not: x^3 - 3x + b is no square there.
    assert len(x_of_lifted(key, (5).to_bytes(32))) == 32
    with pytest.raises(BadPoint, match="an x that is not on the curve"):
        x_of_lifted(key, (1).to_bytes(32))
