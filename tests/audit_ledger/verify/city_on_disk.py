"""A small ledger on disk with one answered question, built once for a module's tests and copied by those that tamper."""

from dataclasses import dataclass
from pathlib import Path

from protocols.answer import Answer
from tests.support.city import City, Question


@dataclass(frozen=True)
class OnDisk:
    """Paths of what a verifier is given."""

    ledger: Path
    trust: Path
    answer: Path
    bundle: Answer
    now: int


def build(path: Path, entries: int = 0) -> OnDisk:
    """`entries` more datasets are logged, so that a test can have full tiles."""
    city = City(path)
    question = Question(city, city.opener())
    bundle = question.answer(question.live())
    for at in range(entries):
        hospital = sorted(city.hospitals)[at % city.n]
        city.now += 1
        city.log_entry(city.sign(city.policy_of(city.hospitals[hospital]), city.hospitals[hospital].identity))
    city.checkpoint()
    city.close()
    trust, answer = path / "trust.policy", path / "answer.json"
    trust.write_bytes(city.trust.encode())
    answer.write_text(bundle.model_dump_json(indent=1))
    return OnDisk(city.folder, trust, answer, bundle, city.now)
