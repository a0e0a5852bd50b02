"""Statements about who may speak: keys, admissions, policies, programmes, approvals, and the end of a log.

Entry 0 of a log is `Root`: the auditor's root key and the coordinator's key, signed by both. Every other key counts only by a
`KeyAdd` that carries two signatures: the new key's own (possession) and one of the auditor's (admission).
"""

from typing import ClassVar, Literal

from protocols.statements.base import (
    Block,
    CatalogueId,
    Decimal9,
    Digest,
    IdentityUri,
    Key,
    Label,
    Natural,
    NoteText,
    Origin,
    Positive,
    Purpose,
    Statement,
    Strict,
    Time,
)


class PreviousLog(Strict):
    """The last cosigned checkpoint of the period before: a new log is accepted only with it."""

    origin: Origin
    size: Natural
    root: Digest
    checkpoint: NoteText


class Root(Statement):
    """Entry 0. Its leaf is what nodes, bureaux and auditors pin."""

    kind: ClassVar[str] = "root"

    auditor: IdentityUri
    auditor_root: Key
    coordinator: IdentityUri
    coordinator_key: Key
    previous: PreviousLog | None = None


class Licence(Strict):
    """A hospital's or bureau's legal identity, each admitted once."""

    legal_name: Label
    number: Label


class KeyAdd(Statement):
    """`subject` speaks with `key` from here on.

    Uses: `identity` (hospital, bureau), `approval` and `service` (auditor). `outbreak` marks a bureau that may break the glass.
    """

    kind: ClassVar[str] = "key"

    action: Literal["add"] = "add"
    subject: IdentityUri
    use: Literal["identity", "approval", "service"]
    key: Key
    licence: Licence | None = None
    outbreak: bool = False


class KeyRevoke(Statement):
    """`key` no longer speaks for `subject`, from this entry on."""

    kind: ClassVar[str] = "key-revoke"

    subject: IdentityUri
    key: Key
    reason: Label


class Policy(Statement):
    """What a hospital enforces: the hash of its policy file, its budget at the order, and the peers whose noise it relies on."""

    kind: ClassVar[str] = "policy"

    policy_sha256: Digest
    order: Natural
    limits: dict[Purpose, Decimal9]
    floor: Natural
    purposes: tuple[Purpose, ...]
    tables: tuple[Label, ...]
    peers: tuple[Digest, ...]


class Table(Strict):
    """A table as its hospital declares it. Declared by IT, never computed from records."""

    name: Label
    size_class: Natural
    first_day: Label
    last_day: Label
    code_systems: tuple[Label, ...]


class Dataset(Statement):
    """The public catalogue entry of one hospital."""

    kind: ClassVar[str] = "dataset"

    tables: tuple[Table, ...]
    freshness: Label
    static_blocks: tuple[Block, ...]


class DeclaredColumn(Strict):
    """A column of a registered table: public bounds and unit of a number, or the list of categories."""

    name: Label
    type: Literal["number", "category"]
    unit: str
    low: str
    high: str
    categories: tuple[Label, ...]


class Registration(Statement):
    """A hospital has registered a research table. Without dates its one block is `static:<catalogue>`.

    Declared by IT, never computed from rows. A static block can be charged once the auditor has approved its registration.
    """

    kind: ClassVar[str] = "registration"

    table: Label
    catalogue: CatalogueId
    title: Label
    is_dated: bool
    size_class: Natural
    first_day: Label
    last_day: Label
    columns: tuple[DeclaredColumn, ...]

    @property
    def block(self) -> str | None:
        """The one block of a table without dates."""
        return None if self.is_dated else f"static:{self.catalogue}"


class Programme(Statement):
    """A standing reason to ask: what a bureau will watch, under which cap. Its approval precedes its queries."""

    kind: ClassVar[str] = "programme"

    title: Label
    purpose: Purpose
    tables: tuple[Label, ...]
    max_price: Decimal9
    until: Time


class ApprovalRule(Statement):
    """What the auditor's root demands from here on: approvers by purpose, emergencies a day, and hours until their review is due.

    A purpose that is not named takes one approver. The latest rule counts, for what is stated after it.
    """

    kind: ClassVar[str] = "rule"

    approvers: dict[Purpose, Positive]
    outbreak_a_day: Natural
    review_hours: Positive


class Approval(Statement):
    """The auditor's yes to a programme or to one query, named by its statement id. It has as many signatures as the rule wants."""

    kind: ClassVar[str] = "approval"

    target: Digest
    until: Time


class Revocation(Statement):
    """The auditor takes an approval back, from this entry on."""

    kind: ClassVar[str] = "revocation"

    target: Digest
    reason: Label


class Hold(Statement):
    """The auditor stops the opener (or lets it go on): one command, nothing opens."""

    kind: ClassVar[str] = "hold"

    is_held: bool
    reason: Label


class Incident(Statement):
    """A hospital or the coordinator says what went wrong with a query, without a number from records."""

    kind: ClassVar[str] = "incident"

    query: Digest
    code: Label


class Review(Statement):
    """The auditor has looked at something afterwards."""

    kind: ClassVar[str] = "review"

    target: Digest
    verdict: Literal["in_order", "not_in_order"]
    note: Label


class Close(Statement):
    """The last entry of a period: the key of the log that follows."""

    kind: ClassVar[str] = "close"

    next_origin: Origin
    next_vkey: Label
