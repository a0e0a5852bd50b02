"""NIST P-256 as far as a blind OR needs it: multiples by OpenSSL, sums of many pairs at once in plain integers.

OpenSSL multiplies in constant time but hands out no sum of points; sums are of points that the other side will see blinded, or has
sent, and one inversion serves a whole list of them. A list with a sum that the formula does not know (a point and itself, or its
opposite) raises: with an honest partner that has the probability of a guessed key.
"""

from collections.abc import Sequence
from typing import TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec

from protocols.errors import ProtocolError

Point: TypeAlias = tuple[int, int]
"""Affine; the neutral point has no place here."""

CURVE = ec.SECP256R1()
FIELD = 2**256 - 2**224 + 2**192 + 2**96 - 1
ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
WINDOW = 8


class BadPoint(ProtocolError):
    """Coordinates that are not of the curve, or points that do not add up as those of an honest partner do."""

    code = "union.point"


def require_point(x: int, y: int) -> Point:
    """Raises BadPoint. The order is prime, so that every point of the curve is one of the group."""
    if not (0 <= x < FIELD and 0 <= y < FIELD) or (y * y - x * x * x + 3 * x - _B) % FIELD:
        raise BadPoint("a point that is not on the curve")
    return x, y


def base_multiple(scalar: int) -> Point:
    """`scalar` from 1 to ORDER - 1 times the base point."""
    numbers = ec.derive_private_key(scalar, CURVE).public_key().public_numbers()
    return numbers.x, numbers.y


def x_of_multiples(scalar: int, points: Sequence[Point]) -> list[bytes]:
    """The 32 bytes of x of `scalar` times each point."""
    key = ec.derive_private_key(scalar, CURVE)
    return [key.exchange(ec.ECDH(), ec.EllipticCurvePublicNumbers(*each, CURVE).public_key()) for each in points]


def x_of_lifted(key: ec.EllipticCurvePrivateKey, x: bytes) -> bytes:
    """The x of the key's multiple of either point with this x. Raises BadPoint if there is none."""
    try:
        return key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(CURVE, b"\2" + x))
    except ValueError:
        raise BadPoint("an x that is not on the curve") from None


def negative(point: Point) -> Point:
    return point[0], FIELD - point[1]


def sums(first: Sequence[Point], second: Sequence[Point]) -> list[Point]:
    """Pair by pair. Raises BadPoint where both have the same x."""
    inverses = _inverses([(b[0] - a[0]) % FIELD for a, b in zip(first, second, strict=True)])
    total = []
    for (x1, y1), (x2, y2), inverse in zip(first, second, inverses, strict=True):
        slope = (y2 - y1) * inverse % FIELD
        x = (slope * slope - x1 - x2) % FIELD
        total.append((x, (slope * (x1 - x) - y1) % FIELD))
    return total


def _inverses(numbers: Sequence[int]) -> list[int]:
    """Of all at the price of one and three products each (Montgomery)."""
    upto, product = [], 1
    for each in numbers:
        upto.append(product)
        product = product * each % FIELD
    try:
        inverse = pow(product, -1, FIELD)
    except ValueError:
        raise BadPoint("two points of one x to add") from None
    found = [0] * len(numbers)
    for n in range(len(numbers) - 1, -1, -1):
        found[n] = inverse * upto[n] % FIELD
        inverse = inverse * numbers[n] % FIELD
    return found


class Multiples:
    """Many multiples of one point, window by window over a table of it. Which entries are read depends on the scalars.

    So it is for scalars that serve once and blind what is sent anyway, on a machine nobody else measures.
    """

    def __init__(self, point: Point) -> None:
        self._tables: list[list[Point]] = []
        for _ in range(256 // WINDOW):
            table = _first_multiples(point)
            self._tables.append(table)
            point = _doubled(table[2 ** (WINDOW - 1) - 1])  # 2^WINDOW times the point

    def of(self, scalars: Sequence[int]) -> list[Point]:
        """Of each scalar from 0 to ORDER - 1, plus a fixed point that `offset` takes away again."""
        totals: list[Point] = [_START] * len(scalars)
        for n, table in enumerate(self._tables):
            digits = [(each >> (WINDOW * n)) & (2**WINDOW - 1) for each in scalars]
            at = [k for k, digit in enumerate(digits) if digit]
            for k, total in zip(at, sums([totals[k] for k in at], [table[digits[k] - 1] for k in at]), strict=True):
                totals[k] = total
        return sums(totals, [negative(_START)] * len(scalars))


def _first_multiples(point: Point) -> list[Point]:
    """1 to 2^WINDOW - 1 times the point, in order; each doubling of the list is one inversion."""
    table = [point, _doubled(point)]
    while len(table) < 2**WINDOW - 1:
        # k + 1 to 2k: the k-th multiple added to 1 .. k - 1, and doubled.
        last = table[-1]
        table += [*sums(table[:-1], [last] * (len(table) - 1)), _doubled(last)]
    return table[: 2**WINDOW - 1]


def _doubled(point: Point) -> Point:
    x, y = point
    slope = (3 * x * x - 3) * pow(2 * y, -1, FIELD) % FIELD
    doubled = (slope * slope - 2 * x) % FIELD
    return doubled, (slope * (x - doubled) - y) % FIELD


_START: Point = base_multiple(0x6B61706F6B206F66207468652063697479206F66204775616E677A686F752E00)
"""Running totals begin here, so that none begins at the neutral point."""
