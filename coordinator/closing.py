"""How a period ends: the old log's `close`, cosigned, and the draft of the next log's entry 0; then the move to it.

Both run while the coordinator is stopped, in one home. `close_log` may be run again after a crash, and until the next log is
founded: the key that the close named is kept, the close is logged once. A question with a Ready that was not ended yet holds it up,
since somebody has paid for it, and so does one of whose end the register does not know yet; one that waits still (for an approval,
say) ends with its log, and is asked anew in the next.
"""

import time
from dataclasses import dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from audit_ledger.before import begun, finish, make_ready
from audit_ledger.checkpoint import Checkpoint
from audit_ledger.findings import Finding
from audit_ledger.follower import Follower
from audit_ledger.log.store import LogStore
from audit_ledger.note import LogKey, Note
from audit_ledger.party.home import Home
from audit_ledger.tiles import CHECKPOINT_PATH
from audit_ledger.view import LedgerView
from coordinator.config import Config
from coordinator.errors import CoordinatorError
from coordinator.founding import BadFounding, founding_entries
from coordinator.register import Register
from coordinator.serve import open_log
from coordinator.witnesses import open_witnesses
from protocols.canonical import b64
from protocols.clock import stamp
from protocols.identity import SigningKey
from protocols.statements import Close, PreviousLog, Root, parse

_NEXT_KEY = "next/keys/log.key"


class NotClosable(CoordinatorError):
    """The log cannot end now; the message says what has to end first."""

    code = "coordinator.close"


@dataclass(frozen=True, slots=True)
class Closed:
    """A log that has ended, and where the draft of the next one's entry 0 lies."""

    origin: str
    size: int
    next_vkey: str
    draft: Path


def close_log(home: Home, next_origin: str) -> Closed:
    """Logs the close, has it cosigned, and drafts the next log. Raises NotClosable, and LedgerError where no quorum cosigns."""
    config = Config.read(home)
    with open_log(home, config) as store:
        view = _replayed(home, store)
        if view.close is None:
            _require_ended(view)
            _require_kept(view, home.path / "register.sqlite")
        vkey = _next_vkey(home, next_origin)
        if view.close is None:
            close = Close(log=config.origin, at=_now(), by=config.uri, next_origin=next_origin, next_vkey=vkey)
            _append(store, view, close.envelope().signed([home.key("identity")]).encode())
        assert view.close is not None
        if (view.close.next_origin, view.close.next_vkey) != (next_origin, vkey):
            raise NotClosable(f"--next-origin: the log is closed already, and names {view.close.next_origin}")
        note = _cosigned(home, config, store)
    draft = _draft(home, config, view, note)
    return Closed(config.origin, view.size, vkey, draft)


def _replayed(home: Home, store: LogStore) -> LedgerView:
    view = begun(home).view
    for entry in store.entries(0, store.size):
        view.apply(entry)
    return view


def _require_ended(view: LedgerView) -> None:
    unended = [id_ for id_, facts in view.questions.items() if facts.readys and facts.release is None]
    if unended:
        raise NotClosable(f"{len(unended)} questions are paid for and not ended, first {unended[0]}: run until they are")


def _require_kept(view: LedgerView, register: Path) -> None:
    """A crash came between an end's entry and its row: the next log knows nothing of the question, and could not answer it."""
    if not register.exists():
        return
    opened = Register(register)
    try:
        unkept = [id_ for row in opened.unfinished() if (id_ := row.query.hex()) in view.questions and view.questions[id_].release]
    finally:
        opened.close()
    if unkept:
        raise NotClosable(f"{len(unkept)} questions have ended and are not told yet, first {unkept[0]}: run until they are")


def _next_vkey(home: Home, origin: str) -> str:
    """The next log's key is made once, before anything names it."""
    if not home.has(_NEXT_KEY):
        home.write_secret(_NEXT_KEY, SigningKey.generate().seed())  # as the home keeps its keys, under its passphrase
    key = SigningKey.from_seed(home.secret(_NEXT_KEY, 32))
    return LogKey.of(origin, Ed25519PublicKey.from_public_bytes(key.public)).vkey.encode()


def _append(store: LogStore, view: LedgerView, entry: bytes) -> None:
    signed = parse(entry)
    if found := view.findings_for(signed):
        raise NotClosable("; ".join(f"{each.rule}: {each.detail}" for each in found))
    store.append([(signed.id, entry)]).result()
    view.apply(entry)


def _cosigned(home: Home, config: Config, store: LogStore) -> bytes:
    """The final checkpoint with the quorum's cosignatures, published; the published one, where it is the final one already."""
    trust, published = home.trust(), home.path / "ledger" / CHECKPOINT_PATH
    if store.published_size == store.size:
        return published.read_bytes()
    signed = store.checkpoint_covering(store.size)
    note = signed + open_witnesses(config, trust, store, home).cosign(signed, store.consistency)
    trust.policy.evaluate(note, int(time.time()), None)
    store.publish(note)
    return note


def _draft(home: Home, config: Config, view: LedgerView, note: bytes) -> Path:
    """Entry 0 as the coordinator signs it: everything as in the old one, and the old log's end."""
    before, close, identity = view.authority.root, view.close, home.key("identity")
    assert before is not None
    assert close is not None
    end = Checkpoint.parse(Note.parse(note).text)
    previous = PreviousLog(origin=end.origin, size=end.size, root=end.root.hex(), checkpoint=note.decode())
    changes = {"log": close.next_origin, "at": _now(), "coordinator_key": b64(identity.public), "previous": previous}
    root = Root(**{**dict(before), **changes})
    home.write("next/config.toml", replace(config, origin=close.next_origin, log_vkey=close.next_vkey).encode())
    home.write("next/founding/auditor.json", (home.path / "founding" / "auditor.json").read_bytes())
    return home.write("next/founding/draft.json", root.envelope().signed([identity]).encode())


def accept_next(home: Home, path: Path) -> None:
    """Moves this home to the log that the auditor countersigned. Raises BadFounding, and NotSuccessor with every broken rule."""
    if finish(home):
        return  # it was accepted before, and a crash came between
    entries, config = founding_entries(path), Config.read(home)
    with open_log(home, config) as store:
        old = Follower(home.trust())
        old.view = _replayed(home, store)
    following = old.successor(entries[0] if entries else b"", int(time.time()))
    found: list[Finding] = [each for entry in entries for each in following.view.apply(entry)]
    if found:
        raise BadFounding(f"{path}: {'; '.join(f'entry {each.index}: {each.rule} {each.detail}' for each in found)}")
    _require_own(following.view, home.key("identity"), path)
    for index, entry in enumerate(entries):
        home.write(f"next/founding/entry-{index:02d}.json", entry)
    make_ready(home, following.trust, None)
    finish(home)


def _require_own(view: LedgerView, identity: SigningKey, path: Path) -> None:
    root = view.authority.root
    if root is None or root.coordinator_key != b64(identity.public):
        raise BadFounding(f"{path}: names another coordinator key")


def _now() -> str:
    return stamp(int(time.time()))
