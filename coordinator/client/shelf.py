"""Answers on disk, as the bytes that were verified: `answers/<id>.json` is what `kapok-audit verify` checks too.

A bundle that did not verify is kept as `answers/<id>.rejected`: it is evidence, and it is never shown as an answer.
`asked/<id>.json` is the signed question, written before it is sent, so that a crash loses no id; `trainings/<id>.json` the ids of
a training's segments, by the first; `reasons/<id>.json` why hospitals are not in an answer, as the coordinator told it beside it.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import TypeAdapter, ValidationError

from audit_ledger.party.home import Home
from coordinator.client.errors import BadUsage
from protocols.statements import Reasoned

_REASONS = TypeAdapter(tuple[Reasoned, ...])


@dataclass(frozen=True, slots=True)
class Shelf:
    home: Home

    def keep_question(self, id_: str, envelope: bytes) -> None:
        self.home.write(f"asked/{id_}.json", envelope)

    def keep_answer(self, id_: str, raw: bytes) -> None:
        self.home.write(f"answers/{id_}.json", raw)

    def keep_evidence(self, id_: str, raw: bytes) -> None:
        self.home.write(f"answers/{id_}.rejected", raw)

    def keep_reasons(self, id_: str, reasons: Sequence[Reasoned]) -> None:
        """Where there are any."""
        if reasons:
            self.home.write(f"reasons/{id_}.json", _REASONS.dump_json(tuple(reasons)))

    def reasons(self, id_: str) -> tuple[Reasoned, ...]:
        """None where nothing was told, or what is kept is damaged: an answer stands without them."""
        try:
            return _REASONS.validate_json((self.home.path / "reasons" / f"{id_}.json").read_bytes())
        except (OSError, ValidationError):
            return ()

    def keep_training(self, ids: list[str]) -> None:
        self.home.write(f"trainings/{ids[0]}.json", json.dumps(ids).encode())

    def training(self, id_: str) -> list[str]:
        """The segments of the training that the question is one of, in order; itself alone where it is none."""
        kept = (json.loads(each.read_bytes()) for each in (self.home.path / "trainings").glob("*.json"))
        return next((list(ids) for ids in kept if id_ in ids), [id_])

    def question(self, id_: str) -> bytes | None:
        """The signed question, if it was asked from this home."""
        path = self.home.path / "asked" / f"{id_}.json"
        return path.read_bytes() if path.exists() else None

    def answer(self, id_: str) -> bytes:
        return (self.home.path / "answers" / f"{id_}.json").read_bytes()

    def answers(self) -> list[str]:
        """Ids, the newest answer first."""
        found = (self.home.path / "answers").glob("*.json")
        return [each.stem for each in sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)]

    def open_questions(self) -> list[str]:
        """Ids asked from this home that have no answer on it."""
        asked = {each.stem for each in (self.home.path / "asked").glob("*.json")}
        return sorted(asked - set(self.answers()))

    def full_id(self, start: str) -> str:
        """The one id that begins so; a whole id needs no file. Raises BadUsage."""
        known = {*self.answers(), *self.open_questions()}
        found = [each for each in known if each.startswith(start.lower())] if start else []
        if len(found) == 1:
            return found[0]
        if len(start) == 64 and not found and set(start) <= set("0123456789abcdef"):
            return start
        raise BadUsage("error.id_unknown", start=start[:64], count=len(found))
