"""Which hospitals make up a round: the member set U and the counting set K, as one pure function.

U starts as every hospital whose Ready came. All of U add noise; only K is counted for floor, n and c. Every member of U must have
every other member of K on its own peer list, as stated by its `policy` entries. Where that fails, the hospital that is missing from
the most lists leaves K (a newcomer whom nobody has accepted yet), or the one whose list lacks the most leaves U; both are named.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Sets:
    """URIs, sorted. `left_out` were ready but are not in U."""

    members: tuple[str, ...]
    counting: tuple[str, ...]
    left_out: tuple[str, ...]


def choose_sets(ready: Mapping[str, str], peers: Mapping[str, frozenset[str]]) -> Sets:
    """`ready` maps each URI to its identity fingerprint, `peers` to the fingerprints it accepted."""
    members, counting = set(ready), set(ready)
    while True:
        lacking = {uri: [other for other in counting - {uri} if ready[other] not in peers.get(uri, frozenset())] for uri in members}
        if not any(lacking.values()):
            return Sets(tuple(sorted(members)), tuple(sorted(counting)), tuple(sorted(set(ready) - members)))
        unaccepted = {other: sum(other in missing for missing in lacking.values()) for other in counting}
        newcomer = max(sorted(unaccepted), key=lambda uri: unaccepted[uri])
        loner = max(sorted(lacking), key=lambda uri: len(lacking[uri]))
        if unaccepted[newcomer] >= len(lacking[loner]):
            counting.discard(newcomer)
        else:
            members.discard(loner)
            counting.discard(loner)
