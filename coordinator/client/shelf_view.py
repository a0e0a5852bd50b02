"""The questions of a home, each on its line: when it was asked, what it asks, and whether there is an answer. The newest first."""

from dataclasses import dataclass

from coordinator.client.shelf import Shelf
from coordinator.client.texts import Say
from protocols import statements as st
from protocols.asked import Asked
from protocols.errors import ProtocolError
from protocols.fits.words import fit_in_words
from protocols.query import QueryError, QuerySpec, in_words

SHOWN_OF_ID = 12
WORDS = 4
"""Lines of a question's words that say what is counted, by what, of whom, and when."""


@dataclass(frozen=True, slots=True)
class Kept:
    """`at` and `words` are empty where the question was asked from another home, or by a newer version."""

    id: str
    at: str
    words: str
    is_answered: bool

    def line(self, say: Say) -> str:
        told = (self.id[:SHOWN_OF_ID], self.at, self.words, "" if self.is_answered else say("answers.open"))
        return "  ".join(filter(None, told))

    def to_json(self) -> dict[str, object]:
        return {"query": self.id, "asked_at": self.at, "words": self.words, "answered": self.is_answered}


def kept(shelf: Shelf, say: Say) -> list[Kept]:
    done, waiting = shelf.answers(), shelf.open_questions()
    found = [Kept(id_, *_asked(shelf.question(id_), say), id_ in set(done)) for id_ in (*done, *waiting)]
    return sorted(found, key=lambda each: each.at, reverse=True)


def _asked(envelope: bytes | None, say: Say) -> tuple[str, str]:
    try:
        query = st.parse(envelope or b"").statement
        return (query.at, _words(query, say)) if isinstance(query, st.Query) else ("", "")
    except (ProtocolError, QueryError):
        return "", ""


def _words(query: st.Query, say: Say) -> str:
    asked = Asked.of(query)
    if isinstance(asked.spec, QuerySpec):
        lines = in_words(asked.spec, say.lang).splitlines()[:WORDS]
    else:
        lines = fit_in_words(asked.spec, query.rounds, say.lang).splitlines()[:1]
    return say("list.semicolon").join(line.strip().rstrip(".") for line in lines)
