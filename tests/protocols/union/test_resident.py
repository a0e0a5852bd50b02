"""One spelling of a resident identity number, and a tag that is nothing without the hospitals' key."""

import pytest
from hypothesis import given
from hypothesis import strategies as some

from protocols.union import MalformedResidentNumber, ResidentKey, normal_form
from protocols.union.resident import check_character
from tests.protocols.union.numbers import number

# The example of GB 11643-1999, appendix.
EXAMPLE = "11010519491231002X"
KEY = ResidentKey(bytes(range(32)))


def test_the_standard_s_own_example_is_a_number() -> None:
    assert normal_form(EXAMPLE) == EXAMPLE
    assert check_character(EXAMPLE[:17]) == "X"


@pytest.mark.parametrize(
    "spelling",
    [
        "11010519491231002x",
        " 110105 19491231 002X ",
        "110105-19491231-002X",
        "１１０１０５１９４９１２３１００２Ｘ",
        "110105491231002",
    ],
)
def test_every_spelling_of_a_number_is_the_same_person(spelling: str) -> None:
    assert normal_form(spelling) == EXAMPLE
    assert KEY.tag(spelling) == KEY.tag(EXAMPLE)


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "18 characters"),
        ("G12345678", "18 characters"),
        ("11010519491231002", "18 characters"),
        ("1101051949123100XX", "18 characters"),
        ("110105194912310021", "check character"),
        ("110105194902310020", "no date"),
        ("٣١٠١٠٥١٩٤٩١٢٣١٠٠٢X", "18 characters"),
    ],
)
def test_what_is_no_number_is_named_by_its_rule_and_not_repeated(text: str, rule: str) -> None:
    with pytest.raises(MalformedResidentNumber, match=rule) as raised:
        normal_form(text)
    assert not text or text not in str(raised.value)


@given(some.integers(0, 10**7 - 1), some.integers(0, 16), some.integers(1, 9))
def test_one_wrong_digit_is_always_noticed(person: int, place: int, by: int) -> None:
    right = number(person)
    wrong = right[:place] + str((int(right[place]) + by) % 10) + right[place + 1 :]
    with pytest.raises(MalformedResidentNumber):
        normal_form(wrong)


@given(some.text(max_size=24))
def test_any_text_has_one_spelling_or_is_none(text: str) -> None:
    try:
        plain = normal_form(text)
    except MalformedResidentNumber:
        return
    assert normal_form(plain) == plain


def test_a_dictionary_of_all_numbers_finds_nobody_without_the_key() -> None:
    """Everybody born on one day in one division is a thousand numbers; with the key the list is complete, without it empty."""
    everybody = [number(person) for person in range(1000)]
    tags = {KEY.tag(each) for each in everybody[::7]}
    assert sum(KEY.tag(each) in tags for each in everybody) == len(everybody[::7])
    other = ResidentKey(bytes(range(1, 33)))
    assert not any(other.tag(each) in tags for each in everybody)  # false alarm: 10^6 pairs of 128 bits, 2^-108


def test_a_short_key_is_refused() -> None:
    with pytest.raises(ValueError, match="31 bytes, it needs at least 32"):
        ResidentKey(bytes(31))
