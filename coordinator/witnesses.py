"""Whom the coordinator asks for cosignatures: one witness over one connection, or several at once under the quorum.

The trust file names the witnesses, their keys and addresses, and the quorum; the auditor's own witness may have its address in
`config.toml` instead. A quorum is more than half of its witnesses: two quorums then share one, and no second history finds another.
"""

from dataclasses import replace
from pathlib import Path

from audit_ledger.cosignature import parse_witness_key
from audit_ledger.errors import LedgerError, Malformed
from audit_ledger.log.store import LogStore
from audit_ledger.note import Note
from audit_ledger.party.home import Home
from audit_ledger.policy import Group, Policy, TrustFile, Witness
from audit_ledger.witness_client import WitnessClient
from audit_ledger.witness_quorum import WitnessQuorum
from coordinator.config import BadConfig, Config

GROUP = "witnesses"


def open_witnesses(config: Config, trust: TrustFile, store: LogStore, home: Home) -> WitnessClient | WitnessQuorum:
    """One client where one witness is the quorum, else all that have an address. Raises BadConfig where they cannot make it."""
    policy, published = trust.policy, home.path / "ledger" / "checkpoint"
    note = Note.parse(published.read_bytes()) if published.exists() else None
    clients = {each.name: _client(each, url, note, store.published_size) for each, url in _addresses(config, policy)}
    if not policy.is_quorum(frozenset(clients)):
        raise BadConfig(f"trust.policy: the witnesses with an address, {sorted(clients)}, cannot make the quorum {policy.quorum!r}")
    return next(iter(clients.values())) if len(clients) == 1 else WitnessQuorum(policy, clients)


def _addresses(config: Config, policy: Policy) -> list[tuple[Witness, str]]:
    urls = [(each, each.url or (config.witness_url if at == 0 else "")) for at, each in enumerate(policy.witnesses)]
    return [(each, url) for each, url in urls if url]


def _client(witness: Witness, url: str, published: Note | None, size: int) -> WitnessClient:
    """Told the size of which we hold its cosignature; none where the published checkpoint went out without it."""
    has_cosigned = published is not None and witness.key.cosigned_at(published) is not None
    try:
        return WitnessClient(url, witness.key, size if has_cosigned else 0)
    except ValueError as cause:
        raise BadConfig(f"trust.policy, witness {witness.name}: {cause}") from None


def with_witnesses(trust: TrustFile, config: Config, lines: list[str], quorum: int) -> TrustFile:
    """The same trust with these witnesses (`NAME VKEY URL`; a known name changes its key) and `quorum` of all. Raises BadConfig."""
    first, *rest = trust.policy.witnesses
    known = {each.name: each for each in (replace(first, url=first.url or config.witness_url), *rest)}
    witnesses = tuple({**known, **{each.name: each for each in map(_parsed, lines)}}.values())
    quorum = quorum or next((each.threshold for each in trust.policy.groups), 1)
    if not len(witnesses) // 2 < quorum <= len(witnesses):
        raise BadConfig(f"quorum: expected more than half of {len(witnesses)} witnesses, got {quorum}")
    groups = (Group(GROUP, quorum, tuple(each.name for each in witnesses)),) if len(witnesses) > 1 else ()
    try:
        return TrustFile(Policy(trust.policy.logs, witnesses, groups, GROUP if groups else witnesses[0].name), trust.entry0)
    except Malformed as error:
        raise BadConfig(str(error)) from None


def _parsed(line: str) -> Witness:
    try:
        name, vkey, url = line.split()
        return Witness(name, parse_witness_key(vkey), url)
    except (ValueError, LedgerError) as error:
        raise BadConfig(f"witness: expected 'NAME VKEY URL', got {line!r}: {error}") from None


def add_witnesses(home: Home, lines: list[str], quorum: int) -> Path:
    """Writes the new trust.policy; the old one stays beside it. It counts for a party once it has pinned it."""
    trust = home.trust()
    changed = with_witnesses(trust, Config.read(home), lines, quorum)
    home.write("trust.policy.before", trust.encode())
    return home.write("trust.policy", changed.encode())
