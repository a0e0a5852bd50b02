"""What the bureau's program tells a person who cannot have what they asked for: a sentence in their language, an exit code.

ClientError
├── BadUsage      2   the request cannot be meant so
├── NotGiven      1   refused, failed, expired or cancelled: the city said no
├── Unverified    1   the answer contradicts what was signed, logged or asked; no number of it is shown
└── Unreachable   3   nothing could be had or checked, so nothing is claimed
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, ClassVar

from coordinator.client.texts import ENGLISH, Say

if TYPE_CHECKING:
    from protocols.statements import Reasoned


_HOSPITAL = "kapok://hospital/"


class ClientError(Exception):
    """Root. `text_id` and `values` make the sentence in any language; `reasons` are the codes behind it."""

    code = "client.error"
    exit_code: ClassVar[int] = 2

    def __init__(self, text_id: str, *, reasons: "Sequence[Reasoned]" = (), **values: object) -> None:
        self.text_id, self.values, self.reasons = text_id, values, tuple(reasons)
        super().__init__(self.told(ENGLISH))

    def told(self, say: Say) -> str:
        return "\n".join([say(self.text_id, **self.values), *(f"  - {each}" for each in told_reasons(self.reasons, say))])


class BadUsage(ClientError):
    """The command line, a file or a name does not make a request."""

    code = "client.usage"


class NotGiven(ClientError):
    """The question ended without an answer."""

    code = "client.not_given"
    exit_code = 1


class Unverified(ClientError):
    """Evidence against an answer."""

    code = "client.unverified"
    exit_code = 1


class Unreachable(ClientError):
    """No connection, or it broke before the end."""

    code = "client.unreachable"
    exit_code = 3


def told_reasons(reasons: "Iterable[Reasoned]", say: Say) -> list[str]:
    """Each broken rule once, with all whom it is about: six hospitals that say the same are one line."""
    about: dict[tuple[str, str, str], list[str]] = {}
    for each in reasons:
        about.setdefault((each.code, each.expected, each.got), []).append(each.subject.replace(_HOSPITAL, ""))
    return [_told(*rule, say("list.comma").join(filter(None, subjects)), say) for rule, subjects in about.items()]


def _told(code: str, expected: str, got: str, subject: str, say: Say) -> str:
    """A rule as a sentence, with what was expected and got, and its code."""
    facts = [say("reason.expected", expected=say.fact(expected))] if expected else []
    facts += [say("reason.got", got=say.fact(got))] if got else []
    behind = say("list.beside", told=say("list.clause").join(facts)) if facts else ""
    about = say("list.colon").join(filter(None, (subject, say.code("reason", code))))
    return f"{about}{behind}   [{code}]"
