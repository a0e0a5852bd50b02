"""Member set and counting set: whoever adds noise knows whom it relies on."""

from hypothesis import given
from hypothesis import strategies as some

from coordinator.sets import choose_sets

URIS = [f"kapok://hospital/h{number}" for number in range(7)]
READY = some.sets(some.sampled_from(URIS)).map(lambda uris: {uri: f"fingerprint of {uri}" for uri in uris})
LISTS = some.dictionaries(
    some.sampled_from(URIS), some.frozensets(some.sampled_from([f"fingerprint of {uri}" for uri in [*URIS, "another"]]))
)


def all_of(ready: dict[str, str]) -> dict[str, frozenset[str]]:
    return {uri: frozenset(ready.values()) for uri in ready}


def ready_of(*names: str) -> dict[str, str]:
    return {name: f"print {name}" for name in names}


@given(READY, LISTS)
def test_every_member_has_every_other_counting_hospital_on_its_list(
    ready: dict[str, str], peers: dict[str, frozenset[str]]
) -> None:
    sets = choose_sets(ready, peers)
    for uri in sets.members:
        assert {ready[other] for other in sets.counting if other != uri} <= peers.get(uri, frozenset())


@given(READY, LISTS)
def test_counting_hospitals_are_members_and_everybody_ready_is_named_once(
    ready: dict[str, str], peers: dict[str, frozenset[str]]
) -> None:
    sets = choose_sets(ready, peers)
    assert set(sets.counting) <= set(sets.members)
    assert sorted([*sets.members, *sets.left_out]) == sorted(ready)


@given(READY, LISTS, some.randoms(use_true_random=False))
def test_the_sets_do_not_depend_on_the_order_in_which_readys_came(
    ready: dict[str, str], peers: dict[str, frozenset[str]], shuffled: object
) -> None:
    order = list(ready)
    shuffled.shuffle(order)  # type: ignore[attr-defined]
    assert choose_sets({uri: ready[uri] for uri in order}, peers) == choose_sets(ready, peers)


@given(READY)
def test_where_all_accept_each_other_nobody_is_left_out(ready: dict[str, str]) -> None:
    sets = choose_sets(ready, all_of(ready))
    assert sets.members == sets.counting == tuple(sorted(ready))


def test_a_newcomer_whom_nobody_accepted_yet_adds_noise_and_does_not_count() -> None:
    ready = ready_of("a", "b", "c", "d", "new")
    old = frozenset(ready[name] for name in ("a", "b", "c", "d"))
    sets = choose_sets(ready, {**dict.fromkeys(("a", "b", "c", "d"), old), "new": old})
    assert sets.members == ("a", "b", "c", "d", "new")
    assert sets.counting == ("a", "b", "c", "d")


def test_a_hospital_that_accepts_nobody_is_left_out_and_the_others_go_on() -> None:
    ready = ready_of("a", "b", "c", "d", "loner")
    sets = choose_sets(ready, {**all_of(ready), "loner": frozenset()})
    assert (sets.members, sets.left_out) == (("a", "b", "c", "d"), ("loner",))
