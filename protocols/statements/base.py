"""What every statement has: the log it is for, the moment its signer claims, and who says it.

A statement is a frozen pydantic model with one canonical spelling (RFC 8785 JSON inside a DSSE envelope). Parsing is strict in
three steps: canonical bytes, known fields with exact types, and every field there; so re-encoding gives the same bytes. Numbers
that are not whole are decimal strings; whole ones are never negative. What people read holds no control or invisible character, so
that a terminal shows an auditor what was signed. No field may hold personal data, nor a hash of it.
"""

from collections.abc import Callable
from functools import cache, lru_cache
from typing import Annotated, Any, ClassVar, Self, get_args, get_origin

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from protocols.canonical import MAX_INTEGER, decode_json, encode_json, is_plainly_canonical
from protocols.clock import unix
from protocols.dsse import Envelope
from protocols.errors import MalformedBytes
from protocols.identity import Identity

FORM = "form "
"""Begins the tag of each form that a part may have, which is no place in a statement."""
MAX_ROUND = 99_999  # an opening names a range of rounds, and every follower walks it


@lru_cache(4096)
def _identity(text: str) -> str:
    Identity.parse(text)
    return text


@lru_cache(4096)
def _time(text: str) -> str:
    unix(text)
    return text


def _printable(text: str) -> str:
    if not text.isprintable():
        raise MalformedBytes("a label holds no control or invisible character")
    return text


def _checked(check: Any) -> AfterValidator:
    def validate(text: str) -> str:
        try:
            return str(check(text))
        except MalformedBytes as error:
            raise ValueError(str(error)) from None

    return AfterValidator(validate)


IdentityUri = Annotated[str, _checked(_identity)]
Time = Annotated[str, _checked(_time)]
# Canonical base64 of 32 and of 64 bytes: the last letter's bits that belong to no byte are zero.
Key = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$")]
SignatureText = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9+/]{85}[AQgw]==$")]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Decimal9 = Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,17})\.[0-9]{9}$")]
Decimal4 = Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,17})\.[0-9]{4}$")]
Decimal6 = Annotated[str, StringConstraints(pattern=r"^(0|[1-9][0-9]{0,17})\.[0-9]{6}$")]
Month = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-(0[1-9]|1[0-2])$")]
Block = Annotated[str, StringConstraints(pattern=r"^([0-9]{4}-(0[1-9]|1[0-2])|static:[a-z0-9_-]{1,64})$")]
CatalogueId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,64}$")]
Origin = Annotated[str, StringConstraints(pattern=r"^[a-z0-9.-]+(/[a-z0-9._-]+)*$", max_length=200)]
Label = Annotated[str, StringConstraints(min_length=1, max_length=200), _checked(_printable)]
NoteText = Annotated[str, StringConstraints(min_length=1, max_length=8192)]
Natural = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
Positive = Annotated[int, Field(ge=1, le=MAX_INTEGER)]
Round = Annotated[int, Field(ge=0, le=MAX_ROUND)]
Purpose = Annotated[str, StringConstraints(pattern=r"^(surveillance|research|outbreak)$")]


class Strict(BaseModel):
    """A part of a statement: exact fields, exact types, nothing shown of a bad value."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class Statement(Strict):
    """One fact, as its signer states it."""

    kind: ClassVar[str]
    _is_typed: ClassVar[bool] = False
    _fields: ClassVar[frozenset[str]] = frozenset()

    log: Origin
    at: Time
    by: IdentityUri

    @classmethod
    def __pydantic_init_subclass__(cls, **_: Any) -> None:
        cls._fields = frozenset(cls.model_fields)
        cls._is_typed = all(each.annotation != dict[str, Any] for each in cls.model_fields.values())

    @classmethod
    def payload_type(cls) -> str:
        return f"application/vnd.kapok.{cls.kind}.v1+json"

    def envelope(self) -> Envelope:
        """The unsigned envelope; `Envelope.signed` adds signatures."""
        return Envelope(self.payload_type(), encode_json(self.model_dump(mode="json")))

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        try:
            # JSON mode: arrays become tuples, everything else stays strict.
            statement = cls.model_validate_json(payload)
        except ValidationError as error:
            decode_json(payload)  # what is not canonical is named as that
            first = error.errors(include_url=False, include_input=False)[0]
            place = ".".join(str(each) for each in first["loc"] if not str(each).startswith(FORM)) or "statement"
            raise MalformedBytes(f"{cls.kind} statement, {place}: {first['msg']}") from None
        # A field of a type of its own takes no float and no large number; a free `spec` may hold both.
        if not (cls._is_typed and is_plainly_canonical(payload)):
            decode_json(payload)  # canonical or refused
        if statement.model_fields_set != cls._fields:
            missing = sorted(cls._fields - statement.model_fields_set)
            raise MalformedBytes(f"{cls.kind} statement: fields are missing: {', '.join(missing)}")
        return statement

    @classmethod
    def reread(cls, payload: bytes) -> Self:
        """The statement of a payload that `from_payload` has taken before: the same object, without its checks."""
        found: Self = _maker(cls)(orjson.loads(payload))
        return found


@cache
def _maker(part: type[Strict]) -> Callable[[dict[str, Any]], Any]:
    """Makes such a part of its values as JSON has them. Arrays become tuples and objects parts; the rest is as it stands there."""
    spelled = ((name, _rebuilder(field.annotation)) for name, field in part.model_fields.items())
    inner = tuple((name, rebuild) for name, rebuild in spelled if rebuild is not None)
    fields, new = set(part.model_fields), part.__new__

    def made(values: dict[str, Any]) -> Any:
        for name, rebuild in inner:
            values[name] = rebuild(values[name])
        one = new(part)
        _set_values(one, values)
        _set_fields(one, fields)
        _set_extra(one, None)
        _set_private(one, None)
        return one

    return made


# What a pydantic model holds, written past its own checks, as its `model_construct` does.
_set_values, _set_fields, _set_extra, _set_private = (
    BaseModel.__dict__[name].__set__
    for name in ("__dict__", "__pydantic_fields_set__", "__pydantic_extra__", "__pydantic_private__")
)


def _rebuilder(kind: Any) -> Callable[[Any], Any] | None:
    of = get_args(kind)
    if get_origin(kind) is tuple:
        each = _rebuilder(of[0])
        return tuple if each is None else lambda values: tuple(each(value) for value in values)
    if isinstance(kind, type) and issubclass(kind, Strict):
        return _maker(kind)
    if of and all(get_origin(each) is Annotated and issubclass(get_args(each)[0], Strict) for each in of):
        makers = {frozenset(part.model_fields): _maker(part) for part in (get_args(each)[0] for each in of)}
        return lambda values: makers[frozenset(values)](values)
    if type(None) in of:
        some = _rebuilder(next(each for each in of if each is not type(None)))
        return None if some is None else lambda value: None if value is None else some(value)
    return None
