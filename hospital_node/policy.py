"""What this hospital permits: a file that IT writes, enforced here and stated in the ledger.

Rules
- Every default refuses: a purpose, table or peer that is not listed is not permitted.
- The budget of one block is the Rényi budget at one order, split among the purposes; it is at most what epsilon and delta allow at
  that order (privacy choice 5). The order is fixed for the period.
- Peers are fingerprints of identity keys, in `peers.txt`, one a line: the hospitals whose noise this one relies on.
- Residents are counted over all hospitals only where a table is listed for it; the ledger is told so with the key's fingerprint.
- Exact mode (no noise) is permitted by table; the default is none of them, and what is permitted is stated in the ledger.
- `policy_refusals` is a pure function of the query and the file.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from pydantic import Field

from hospital_node.approved import approved_text, read_approved
from hospital_node.config import Settings, read_toml
from hospital_node.errors import InvalidConfig
from hospital_node.records.errors import InvalidMapping
from hospital_node.records.residents import Residents
from hospital_node.tables.declared import names
from privacy.conversion import budget_for
from privacy.errors import PrivacyError
from privacy.filter import Budget, encode_charge
from protocols.asked import Asked
from protocols.clock import stamp
from protocols.contract import CONTRACT, PURPOSES
from protocols.exact import permission
from protocols.query import Table
from protocols.refusal import Reason, Refusal
from protocols.statements import Policy as PolicyStatement
from protocols.union.question import permission as residents_permission

POLICY_FILE = "policy.toml"
PEERS_FILE = "peers.txt"


class PolicyFile(Settings):
    """The fields of policy.toml. Numbers with a fraction are strings: what is written is what is meant."""

    epsilon: str
    delta: str
    order: int
    budget: str
    shares: dict[str, str]
    floor: int
    purposes: list[str]
    tables: list[str]
    max_cells: int
    exact_tables: list[str] = Field(default_factory=list)
    exact_a_month: int = CONTRACT.exact_a_month
    resident_tables: list[str] = Field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Policy:
    """The enforced terms. `sha256` is that of the file, `budget` the limit per purpose and block."""

    epsilon: Fraction
    delta: Fraction
    order: int
    budget: Budget
    floor: int
    purposes: frozenset[str]
    tables: frozenset[str]
    max_cells: int
    sha256: str
    peers: frozenset[str]
    exact_tables: frozenset[str] = frozenset()
    exact_a_month: int = CONTRACT.exact_a_month
    resident_tables: frozenset[str] = frozenset()
    resident_print: str = ""
    """Of the residents' key; empty where there is none, and then no such question is permitted."""

    def residents(self, table: str) -> str | None:
        """How the ledger is told that this table may be asked for residents; None where it may not."""
        is_permitted = table in self.resident_tables and bool(self.resident_print)
        return residents_permission(table, self.resident_print) if is_permitted else None

    def statement(self, origin: str, uri: str, now: int) -> PolicyStatement:
        """What the ledger is told; limits of purposes that are not permitted are left out."""
        residents = filter(None, map(self.residents, self.resident_tables))
        limits = {name: encode_charge(self.budget.limit(name)) for name in sorted(self.purposes)}
        return PolicyStatement(
            log=origin,
            at=stamp(now),
            by=uri,
            policy_sha256=self.sha256,
            order=self.order,
            limits=limits,
            floor=self.floor,
            purposes=tuple(sorted(self.purposes)),
            tables=tuple(sorted({*self.tables, *map(permission, self.exact_tables), *residents})),
            peers=tuple(sorted(self.peers)),
        )


def read_policy(home: Path) -> Policy:
    """Raises InvalidConfig, naming the field."""
    path = home / POLICY_FILE
    found = read_toml(path, PolicyFile, "print one with `kapok-node policy --default`")
    epsilon, delta, total = (_number(path, name, getattr(found, name)) for name in ("epsilon", "delta", "budget"))
    shares = {name: _number(path, f"shares.{name}", text) for name, text in found.shares.items()}
    _require_known(path, "purposes", found.purposes, PURPOSES)
    _require_known(path, "shares", shares, PURPOSES)
    _require_known(path, "tables", found.tables, [*(str(each) for each in Table), *names(home)])
    _require_known(path, "exact_tables", found.exact_tables, found.tables)
    _require_known(path, "resident_tables", found.resident_tables, {*found.tables} & {*map(str, Table)})
    if found.floor < CONTRACT.floor:
        raise InvalidConfig(f"{path}: floor: expected at least {CONTRACT.floor}, got {found.floor}")
    if found.order != CONTRACT.order:  # prices of two orders do not add up, and the ledger holds those of one
        raise InvalidConfig(f"{path}: order: expected {CONTRACT.order}, the order of every account in the city, got {found.order}")
    if not 0 <= found.exact_a_month <= CONTRACT.exact_a_month:
        raise InvalidConfig(f"{path}: exact_a_month: expected 0 to {CONTRACT.exact_a_month}, got {found.exact_a_month}")
    try:
        allowed = budget_for(epsilon, delta, found.order)
        budget = Budget.split(total, shares)
    except PrivacyError as error:
        raise InvalidConfig(f"{path}: {error}") from None
    if total > allowed:
        raise InvalidConfig(
            f"{path}: budget: epsilon {epsilon} at delta {delta} and order {found.order} allows {float(allowed):.4f}"
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Policy(
        epsilon,
        delta,
        found.order,
        budget,
        found.floor,
        frozenset(found.purposes),
        frozenset(found.tables),
        found.max_cells,
        digest,
        read_peers(home),
        frozenset(found.exact_tables),
        found.exact_a_month,
        frozenset(found.resident_tables),
        _residents(home) if found.resident_tables else "",
    )


def _residents(home: Path) -> str:
    try:
        residents = Residents.of(home)
    except InvalidMapping as error:
        raise InvalidConfig(str(error)) from None
    return residents.fingerprint if residents else ""


def _number(path: Path, name: str, text: str) -> Fraction:
    try:
        value = Fraction(text)
    except (ValueError, ZeroDivisionError):
        raise InvalidConfig(f'{path}: {name}: expected a number in quotes like "0.6"') from None
    if value < 0:
        raise InvalidConfig(f"{path}: {name}: expected at least 0")
    return value


def _require_known(path: Path, name: str, given: Iterable[str], known: Iterable[str]) -> None:
    allowed = list(known)
    if unknown := sorted(set(given) - set(allowed)):
        raise InvalidConfig(f"{path}: {name}: {', '.join(unknown)} is not one of {', '.join(allowed)}")


def policy_refusals(asked: Asked, policy: Policy, exact_this_month: int = 0) -> list[Refusal]:
    """Every rule of the file that this query breaks; an empty list is consent. Reads no record.

    `exact_this_month`: how many exact questions over the table this hospital has had a Ready for in this month.
    """
    query, found = asked.query, []
    if query.purpose not in policy.purposes:
        found.append(Refusal(Reason.PURPOSE_NOT_PERMITTED, ", ".join(sorted(policy.purposes)), query.purpose))
    if not asked.tables <= set(policy.tables):
        found.append(Refusal(Reason.TABLE_NOT_PERMITTED, ", ".join(sorted(policy.tables)), ", ".join(sorted(asked.tables))))
    if query.floor < policy.floor:
        found.append(Refusal(Reason.FLOOR_TOO_LOW, str(policy.floor), str(query.floor)))
    if asked.dimension > policy.max_cells:
        found.append(Refusal(Reason.TOO_MANY_CELLS, str(policy.max_cells), str(asked.dimension)))
    if asked.is_of_residents and policy.residents(asked.table) is None:
        permitted = ", ".join(sorted(policy.resident_tables)) or "no residents"
        found.append(Refusal(Reason.RESIDENTS_NOT_PERMITTED, permitted, asked.table))
    if asked.is_exact and asked.table not in policy.exact_tables:
        found.append(Refusal(Reason.EXACT_NOT_PERMITTED, ", ".join(sorted(policy.exact_tables)) or "no exact mode", asked.table))
    if asked.is_exact and exact_this_month >= policy.exact_a_month:
        found.append(Refusal(Reason.EXACT_CAP, f"{policy.exact_a_month} exact questions a month and table", "no more"))
    return found


def read_peers(home: Path) -> frozenset[str]:
    """The accepted fingerprints; no file is no peer. Raises InvalidConfig with the line."""
    return read_approved(home / PEERS_FILE, "a fingerprint")


def peers_text(peers: Iterable[tuple[str, str]]) -> str:
    """The file from (fingerprint, name) pairs."""
    return approved_text("Hospitals whose noise this one relies on: fingerprint of the identity key, compared by telephone.", peers)


def default_policy() -> str:
    """policy.toml with the contract's numbers and what each means."""
    shares = "\n".join(f'{name} = "{float(share):g}"' for name, share in CONTRACT.shares)
    return f"""\
# What this hospital permits. Every number is checked at this node, before any record is read.
# 本院允许的查询；每个数字都在本节点、读取任何病历之前检查。

# A patient's privacy loss from all answers together, in each calendar month of their records.
epsilon = "{CONTRACT.epsilon}"
delta = "{float(CONTRACT.delta):.6f}"
# The Rényi order of the account, the same in the whole city, and the budget it gives; at most what epsilon and delta allow.
order = {CONTRACT.order}
budget = "{float(CONTRACT.budget):.4f}"

# Fewest hospitals in one sum, this one included.
floor = {CONTRACT.floor}
# Largest answer, in numbers.
max_cells = {CONTRACT.max_cells}

# What may be asked at all. A purpose or a table that is not listed is refused.
purposes = [{", ".join(f'"{each}"' for each in PURPOSES)}]
tables = [{", ".join(f'"{each}"' for each in Table)}]

# Exact mode: sums WITHOUT noise for a research question, which are NOT private. Each needs the auditor's approval of that very
# question, and every one of at least {CONTRACT.exact_floor} hospitals. List the tables for which this hospital agrees, for example
# ["visits"]; at most so many questions a month for each. An empty list refuses them all.
# 精确模式：研究问题的求和不加噪声，结果不具有隐私保护。每个问题须经审计方单独批准，至少 {CONTRACT.exact_floor} 家医院且全部参加。
# 在此列出本院同意的数据表，例如 ["visits"]；每表每月至多若干次。空列表表示一律拒绝。
exact_tables = []
exact_a_month = {CONTRACT.exact_a_month}

# Residents: counts in which a patient of several hospitals counts once. Needs the residents' key (kapok-node residents) and
# records imported with resident numbers. Coordinator and auditor together would see more of such an answer than of any other
# (privacy/DISTINCT.md). List the tables for which this hospital agrees, for example ["diagnoses"]; an empty list refuses all.
# 居民去重：同一居民在多家医院只计一次。须有居民标识密钥，并以身份证号导入记录。
# 协调方与审计方若串通，从此类回答中所知多于其他回答（privacy/DISTINCT.md）。
# 在此列出本院同意的数据表，例如 ["diagnoses"]；空列表表示一律拒绝。
resident_tables = []

# How the budget of each month is divided among purposes; together at most 1.
[shares]
{shares}
"""
