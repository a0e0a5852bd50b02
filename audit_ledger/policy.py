"""Whom we believe: the C2SP tlog-policy file, and what a checkpoint is worth under it.

Rules
- Lines, separated by LF; items by spaces and tabs. `#` starts a comment line. Octets below 0x20 other than tab and LF,
  and 0x7F, are refused. Only backward references; one name space for witnesses and groups, `none` reserved; each name
  is a member of at most one group; exactly one `quorum`.
- A key appears once in the whole file, also across roles: a log key that cosigns, or one witness in two roles, is one
  party counted twice.
- A checkpoint is taken if one listed log signed it and the quorum cosigned it. Its witness time is the latest moment T
  such that the cosignatures of T or later still make the quorum; freshness is measured against that T.
- A cosignature from the future (beyond the tolerance) does not count.

`TrustFile` is the one file a node, the bureau and the auditor pin: a policy with the comment line
`# kapok entry0 <64 hex>`, the SHA-256 leaf hash of the log's first entry.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from audit_ledger.checkpoint import Checkpoint, open_checkpoint
from audit_ledger.cosignature import WitnessKey, parse_witness_key
from audit_ledger.errors import MalformedNote, MalformedPolicy, NoQuorum, StaleCheckpoint
from audit_ledger.note import LogKey, Note
from audit_ledger.strict import decimal

NONE = "none"
FUTURE_TOLERANCE_S = 300  # a witness clock may run ahead by this much

_FORBIDDEN = re.compile(rb"[\x00-\x08\x0b-\x1f\x7f]")
_ENTRY0 = re.compile(rb"# kapok entry0 ([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Log:
    """A log whose checkpoints are taken; `url` is where its tiles are."""

    key: LogKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Witness:
    """A witness under the policy's own name for it; `url` is its submission prefix."""

    name: str
    key: WitnessKey
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Group:
    """Witnesses a checkpoint when at least `threshold` of its members (witnesses or groups) do."""

    name: str
    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Cosigned:
    """A checkpoint whose log signature and known cosignatures have been verified, with each witness's newest time."""

    checkpoint: Checkpoint
    times: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Accepted:
    """A checkpoint the policy takes. `witness_time` is None only under `quorum none`."""

    checkpoint: Checkpoint
    counted: frozenset[str]
    witness_time: int | None


@dataclass(frozen=True, slots=True)
class Policy:
    """Logs, witnesses and the quorum. Evaluates; reads no clock."""

    logs: tuple[Log, ...]
    witnesses: tuple[Witness, ...]
    groups: tuple[Group, ...]
    quorum: str

    def __post_init__(self) -> None:
        _demand_distinct_keys(self)
        _demand_sound_names(self)

    @classmethod
    def parse(cls, raw: bytes) -> "Policy":
        """Raises MalformedPolicy with the line number."""
        return _Reader().read(raw)

    def encode(self) -> bytes:
        """The policy as a file; `parse` gives it back."""
        lines = [_line("log", log.key.vkey.encode(), log.url) for log in self.logs]
        lines += [_line("witness", seen.name, seen.key.vkey.encode(), seen.url) for seen in self.witnesses]
        lines += [_line("group", group.name, str(group.threshold), *group.members) for group in self.groups]
        return "".join([*lines, _line("quorum", self.quorum)]).encode("utf-8", "surrogateescape")

    def open(self, raw: bytes) -> Cosigned:
        """Verify every signature we can: one of our logs signed, and no line of a key we know lies.

        Raises MalformedNote, MalformedCheckpoint, UnknownLog and BadSignature. Says nothing of quorum or age.
        """
        return _opened(self, raw)

    def accept(self, cosigned: Cosigned, now: int, max_age_s: int | None, tolerance_s: int = FUTURE_TOLERANCE_S) -> Accepted:
        """Judge quorum and age. `max_age_s` None means that any age will do (an archived proof).

        Raises NoQuorum and StaleCheckpoint; a policy of `quorum none` with an age limit is never fresh.
        """
        past = {name: time for name, time in cosigned.times.items() if time <= now + tolerance_s}
        time = self._quorum_time(past)
        origin = f"checkpoint {cosigned.checkpoint.size} of {cosigned.checkpoint.origin!r}"
        if time is None and self.quorum != NONE:
            raise NoQuorum(f"{origin}: cosigned by {sorted(past) or 'nobody'}, the quorum is {self.quorum!r}")
        if max_age_s is not None and (time is None or time < now - max_age_s):
            age = "no witness time" if time is None else f"{now - time} s old"
            raise StaleCheckpoint(f"{origin}: {age}, allowed {max_age_s} s")
        oldest = 0 if max_age_s is None else now - max_age_s
        return Accepted(cosigned.checkpoint, frozenset(n for n, seen in past.items() if seen >= oldest), time)

    def evaluate(self, raw: bytes, now: int, max_age_s: int | None, tolerance_s: int = FUTURE_TOLERANCE_S) -> Accepted:
        """`open` and `accept` in one."""
        return self.accept(self.open(raw), now, max_age_s, tolerance_s)

    def is_quorum(self, names: frozenset[str]) -> bool:
        """Whether these witnesses together make the quorum."""
        standing = set(names) | {NONE}
        for group in self.groups:  # in order of definition: members come before
            if sum(member in standing for member in group.members) >= group.threshold:
                standing.add(group.name)
        return self.quorum in standing

    def has_disjoint_quorums(self) -> bool:
        """Whether two quorums may share no witness. `none` has no quorum, and is never fresh."""
        splits = {witness.name: False for witness in self.witnesses} | {NONE: False}
        for group in self.groups:  # a member counts on both sides only if it can be split itself
            splits[group.name] = 2 * group.threshold <= len(group.members) + sum(splits[member] for member in group.members)
        return splits[self.quorum]

    def _quorum_time(self, times: Mapping[str, int]) -> int | None:
        if self.quorum == NONE:
            return None
        for time in sorted(set(times.values()), reverse=True):
            if self.is_quorum(frozenset(name for name, seen in times.items() if seen >= time)):
                return time
        return None


@lru_cache(16)
def _opened(policy: Policy, raw: bytes) -> Cosigned:
    # A note is followed and then stands under every proof of the moment; what does not verify raises and is not kept.
    note = Note.parse(raw)
    checkpoint = open_checkpoint(note, [log.key for log in policy.logs])
    times = {witness.name: witness.key.cosigned_at(note) for witness in policy.witnesses}
    return Cosigned(checkpoint, {name: time for name, time in times.items() if time is not None})


@dataclass(frozen=True, slots=True)
class TrustFile:
    """A policy and the hash of the log's first entry: all that a party must be given by hand."""

    policy: Policy
    entry0: bytes

    @classmethod
    def parse(cls, raw: bytes) -> "TrustFile":
        """Raises MalformedPolicy, also when the entry0 line is missing, repeated or not in its one spelling.

        And where two sets of witnesses without a common one could each cosign: of two histories, both would be taken.
        """
        pinned = [line.strip(b" \t") for line in raw.split(b"\n") if line.split()[:3] == [b"#", b"kapok", b"entry0"]]
        found = [_ENTRY0.fullmatch(line) for line in pinned]
        if len(found) != 1 or found[0] is None:
            raise MalformedPolicy(f"trust file has {len(found)} lines `# kapok entry0 <64 hex>`, expected one, well-formed")
        policy = Policy.parse(raw)
        if policy.has_disjoint_quorums():
            raise MalformedPolicy(f"quorum {policy.quorum!r}: expected more than half, so that any two quorums share a witness")
        return cls(policy, bytes.fromhex(found[0][1].decode()))

    def encode(self) -> bytes:
        """The file; `parse` gives it back."""
        return f"# kapok entry0 {self.entry0.hex()}\n".encode() + self.policy.encode()


class _Reader:
    """Reads one policy file, line by line."""

    def __init__(self) -> None:
        self._logs: list[Log] = []
        self._witnesses: list[Witness] = []
        self._groups: list[Group] = []
        self._quorums: list[str] = []

    def read(self, raw: bytes) -> Policy:
        if _FORBIDDEN.search(raw):
            raise MalformedPolicy("policy holds a control character other than tab and newline")
        if raw and not raw.endswith(b"\n"):
            raise MalformedPolicy("policy does not end in a newline")
        for number, line in enumerate(raw.split(b"\n"), start=1):
            try:
                self._read_line([item for item in re.split(rb"[ \t]+", line) if item])
            except (MalformedNote, MalformedPolicy, ValueError) as cause:
                raise MalformedPolicy(f"policy line {number}: {cause}") from cause
        if len(self._quorums) != 1:
            raise MalformedPolicy(f"policy has {len(self._quorums)} quorum lines, expected one")
        return Policy(tuple(self._logs), tuple(self._witnesses), tuple(self._groups), self._quorums[0])

    def _read_line(self, items: Sequence[bytes]) -> None:
        match items:
            case []:
                pass
            case [first, *_] if first.startswith(b"#"):
                pass
            case [b"log", vkey, *url] if len(url) <= 1:
                self._logs.append(Log(LogKey.parse(vkey.decode()), _url(url)))
            case [b"witness", name, vkey, *url] if len(url) <= 1:
                self._witnesses.append(Witness(_text(name), parse_witness_key(vkey.decode()), _url(url)))
            case [b"group", name, threshold, first, *more]:
                self._add_group(_text(name), threshold, tuple(_text(member) for member in (first, *more)))
            case [b"quorum", name]:
                self._demand_known(_text(name), allow_none=True)
                self._quorums.append(_text(name))
            case _:
                raise MalformedPolicy("not a log, witness, group or quorum line")

    def _add_group(self, name: str, threshold: bytes, members: tuple[str, ...]) -> None:
        for member in members:
            self._demand_known(member, allow_none=False)
        named = {b"all": len(members), b"any": 1}
        self._groups.append(Group(name, named.get(threshold) or decimal(threshold), members))

    def _demand_known(self, name: str, *, allow_none: bool) -> None:
        known = {witness.name for witness in self._witnesses} | {group.name for group in self._groups}
        if name not in known and not (allow_none and name == NONE):
            raise MalformedPolicy(f"name {name!r} is not defined above")


def _demand_distinct_keys(policy: Policy) -> None:
    keys = [log.key.vkey for log in policy.logs] + [witness.key.vkey for witness in policy.witnesses]
    if len({key.material for key in keys}) != len(keys):
        raise MalformedPolicy("policy uses one public key twice")


def _demand_sound_names(policy: Policy) -> None:
    names = [witness.name for witness in policy.witnesses] + [group.name for group in policy.groups]
    if len(set(names)) != len(names) or NONE in names:
        raise MalformedPolicy("policy defines a name twice, or the reserved name 'none'")
    if not {policy.quorum} <= {*names, NONE}:
        raise MalformedPolicy(f"quorum {policy.quorum!r} is not defined")
    members = [member for group in policy.groups for member in group.members]
    if len(set(members)) != len(members):
        raise MalformedPolicy("policy lists a name as a member twice")
    known = {witness.name for witness in policy.witnesses}
    for group in policy.groups:
        if not 1 <= group.threshold <= len(group.members) or not set(group.members) <= known:
            raise MalformedPolicy(f"group {group.name!r}: threshold outside 1..{len(group.members)}, or unknown members")
        known.add(group.name)


def _text(item: bytes) -> str:
    return item.decode("utf-8", "surrogateescape")  # names are opaque octets; this keeps distinct ones distinct


def _url(items: Sequence[bytes]) -> str | None:
    return _text(items[0]) if items else None


def _line(*items: str | None) -> str:
    return " ".join(item for item in items if item is not None) + "\n"
