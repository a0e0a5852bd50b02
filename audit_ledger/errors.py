"""Every error of the ledger, one tree, each class with a stable `code` (metric label, API field, translation key).

    LedgerError
    ├── Malformed            bytes that are not what their format says (theirs, never ours)
    ├── Tampering            evidence: what was signed or stored contradicts something else that was signed
    ├── Untrusted            well-formed, but our policy does not let us rely on it
    ├── Unavailable          could not be checked: something is missing
    ├── LogError             the append path refuses or has stopped
    └── WitnessError         a witness did not cosign

A verifying command turns `Tampering` and `Malformed` of signed material into exit code 1 and `Unavailable` into 3;
the two must never be confused.
"""


class LedgerError(Exception):
    """Root of all errors of this package."""

    code = "ledger"


class Malformed(LedgerError):
    """The bytes do not follow their format."""

    code = "ledger.malformed"


class MalformedNote(Malformed):
    """Not a signed note, or not a verifier key."""

    code = "ledger.malformed_note"


class MalformedCheckpoint(Malformed):
    """A note text that is not a checkpoint without extension lines."""

    code = "ledger.malformed_checkpoint"


class MalformedProof(Malformed):
    """Not a tlog-proof."""

    code = "ledger.malformed_proof"


class MalformedPolicy(Malformed):
    """Not a tlog-policy file, or one that contradicts itself."""

    code = "ledger.malformed_policy"


class MalformedTile(Malformed):
    """A tile or an entry bundle of the wrong length, or a path that names none."""

    code = "ledger.malformed_tile"


class MalformedRequest(Malformed):
    """Not an add-checkpoint request body."""

    code = "ledger.malformed_request"


class Tampering(LedgerError):
    """Evidence that somebody signed or stored what cannot be true."""

    code = "ledger.tampering"


class BadSignature(Tampering):
    """A line with the name and ID of a key we know does not verify under that key."""

    code = "ledger.signature"


class BadProof(Tampering):
    """A Merkle proof does not lead to the root it claims."""

    code = "ledger.proof"


class TreeMismatch(Tampering):
    """Stored entries or tiles do not hash to the signed root, or an immutable file holds other bytes."""

    code = "ledger.tree_mismatch"


class SplitView(TreeMismatch):
    """Two checkpoints signed by one log of which neither extends the other; `notes` are both, byte for byte."""

    code = "ledger.split_view"

    def __init__(self, message: str, notes: tuple[bytes, bytes]) -> None:
        super().__init__(message, notes)
        self.notes = notes

    def __str__(self) -> str:
        return str(self.args[0])


class Damaged(Tampering):
    """A file of the append path does not hold what was written into it; the message names the file."""

    code = "ledger.damaged"


class RolledBack(Tampering):
    """Our own durable state is older than what we have published or had cosigned."""

    code = "ledger.rolled_back"


class Untrusted(LedgerError):
    """Well-formed, but the policy does not let us rely on it."""

    code = "ledger.untrusted"


class UnknownLog(Untrusted):
    """No signature of a log the policy names."""

    code = "ledger.unknown_log"


class NotSuccessor(Untrusted):
    """A log that does not follow the one we know: the message lists every rule it breaks."""

    code = "ledger.not_successor"


class NoPast(LedgerError):
    """A log that follows another, without the one it follows: its keys and totals stand there."""

    code = "ledger.no_past"


class NoQuorum(Untrusted):
    """The cosignatures that count do not make the policy's quorum."""

    code = "ledger.no_quorum"


class StaleCheckpoint(Untrusted):
    """The quorum stands only with cosignatures older than allowed."""

    code = "ledger.stale"


class Unavailable(LedgerError):
    """A file of the log could not be had, so nothing can be said."""

    code = "ledger.unavailable"


class LogError(LedgerError):
    """The append path says no."""

    code = "ledger.log"


class EntryTooLarge(LogError):
    """An entry above 65,535 bytes: big things go in by hash."""

    code = "ledger.entry_too_large"


class Busy(LogError):
    """Too many appends are waiting; nothing was written, try again later."""

    code = "ledger.busy"


class LogLocked(LogError):
    """Another process is writing this log."""

    code = "ledger.locked"


class LogStopped(LogError):
    """A write has an unknown outcome (or the log was closed): open the log anew, which verifies what is there."""

    code = "ledger.stopped"


class WrongLogKey(LogError):
    """The signing key or origin is not the one this log was made with."""

    code = "ledger.wrong_key"


class NotOurs(LogError):
    """A note handed over for publication is not a checkpoint this log signed."""

    code = "ledger.not_ours"


class WitnessError(LedgerError):
    """A witness did not cosign."""

    code = "ledger.witness"


class WitnessUnreachable(WitnessError):
    """No answer, or one that is not HTTP."""

    code = "ledger.witness_unreachable"


class WitnessRefused(WitnessError):
    """The witness answered with a refusal; `status` is the HTTP status."""

    code = "ledger.witness_refused"

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class WitnessConflict(WitnessRefused):
    """409: the witness last cosigned `size`, not the old size we named."""

    code = "ledger.witness_conflict"

    def __init__(self, message: str, size: int) -> None:
        super().__init__(message, 409)
        self.size = size


class WitnessBehind(WitnessError):
    """The witness forgot a checkpoint whose cosignature we hold: its database was restored or replaced."""

    code = "ledger.witness_behind"


class WitnessAhead(WitnessError):
    """The witness cosigned a larger tree than the log has: the log lost entries, or has a twin."""

    code = "ledger.witness_ahead"


class QuorumMissing(WitnessError):
    """Too few witnesses cosigned; the message gives the reason of each that did not."""

    code = "ledger.quorum_missing"


class Superseded(WitnessError):
    """A larger checkpoint was cosigned meanwhile; use that one."""

    code = "ledger.superseded"


class WitnessStopped(WitnessError):
    """The witness could not make its memory durable; it answers nobody until it is opened anew."""

    code = "ledger.witness_stopped"


class WitnessDamaged(WitnessError):
    """What the witness remembers is not what it once cosigned; it does not start on it."""

    code = "ledger.witness_damaged"


class OpenerDamaged(LedgerError):
    """The opener's database does not hold what was written into it. An empty one is safe: what is logged counts as used."""

    code = "ledger.opener_damaged"
