"""Who is in an answer and who is not, and why, as far as hospitals said why.

Who answered and who refused is proved by the bundle. The reasons are what the coordinator tells beside it: codes with what was
expected and got, of hospitals that the bundle names as refusing or left out and of nobody else. They decide nothing.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from coordinator.client.errors import told_reasons
from coordinator.client.texts import Say
from protocols.answer import Coverage
from protocols.identity import Identity
from protocols.statements import Reasoned

PARTS = ("answered", "refused", "away", "left_out", "incomplete")


def coverage(found: Coverage, reasons: Sequence[Reasoned], say: Say) -> Iterator[str]:
    for name in PARTS:
        uris: tuple[str, ...] = getattr(found, name)
        if uris or name == "answered":
            yield say(f"coverage.{name}", count=len(uris), names=hospitals(uris, say))
        for line in told_reasons([each for each in reasons if name in {"refused", "left_out"} and each.subject in uris], say):
            yield f"  {line}"
    if reasons:
        yield f"  {say('coverage.why')}"


def coverage_json(found: Coverage, reasons: Sequence[Reasoned]) -> dict[str, Any]:
    """`reasons` only where there are any: a file of before reads as one of today."""
    told = [{"hospital": each.subject, "code": each.code, "expected": each.expected, "got": each.got} for each in reasons]
    return found.model_dump(mode="json") | ({"reasons": told} if told else {})


def of_the_absent(found: Coverage, reasons: Iterable[Reasoned]) -> tuple[Reasoned, ...]:
    """What was told of hospitals that the bundle names as absent by a no of theirs."""
    return tuple(each for each in reasons if each.subject in {*found.refused, *found.left_out})


def hospitals(uris: Iterable[str], say: Say) -> str:
    return say("list.comma").join(Identity.parse(uri).name for uri in uris) or "-"
