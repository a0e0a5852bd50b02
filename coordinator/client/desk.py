"""The coordinator's desk over mutual TLS: the catalogue, statements in, and the life of a question as a stream of steps.

A stream that ends without its last step means nothing (`City` says so); an unknown state is an error. Broken connections become
`Unreachable` with the status alone: what a server says in prose is not repeated.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self, TypeVar

import grpc

from audit_ledger.party.channel import open_blocking_channel
from audit_ledger.party.home import Home, HomeError
from coordinator.client.errors import NotGiven, Unreachable
from coordinator.client.settings import Settings
from protocols.statements import Reasoned
from protocols.v1 import link_pb2, link_pb2_grpc

TIMEOUT_S = 30
Reply = TypeVar("Reply")


class State(StrEnum):
    """What became of a question so far; the last five are ends."""

    SUBMITTED = "submitted"
    LOGGED = "logged"
    APPROVED = "approved"
    RUNNING = "running"
    RELEASED = "released"
    REFUSED = "refused"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Step:
    """One frame of a question's life. `answer` is the bundle's bytes, unverified."""

    query: str
    state: State
    ready: int
    of: int
    reasons: tuple[Reasoned, ...]
    answer: bytes
    is_last: bool

    @classmethod
    def of_frame(cls, frame: link_pb2.Progress) -> Self:
        try:
            state = State(frame.state)
        except ValueError:
            raise Unreachable("error.state") from None
        return cls(frame.query.hex(), state, frame.ready, frame.of, _reasons(frame.refusals), frame.answer, frame.is_last)


class Desk:
    """One connection. Close it, or use it as a context."""

    def __init__(self, channel: grpc.Channel, address: str) -> None:
        self._channel, self._address = channel, address
        self._stub = link_pb2_grpc.DeskStub(channel)

    @classmethod
    def connect(cls, home: Home, settings: Settings) -> Self:
        try:
            channel = open_blocking_channel(home, settings.coordinator_address, settings.coordinator_uri)
        except FileNotFoundError as error:
            raise HomeError(f"{error.filename}: not there; run `kapok init` first") from None
        return cls(channel, settings.coordinator_address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    def catalog(self) -> bytes:
        """The JSON as the coordinator told it."""
        return self._call(lambda: self._stub.Catalog(link_pb2.CatalogRequest(), timeout=TIMEOUT_S)).catalog

    def append(self, envelope: bytes) -> int:
        """The entry's index in the ledger. Raises NotGiven with every reason."""
        reply = self._call(lambda: self._stub.Append(link_pb2.Statement(envelope=envelope), timeout=TIMEOUT_S))
        if reply.refusals:
            raise NotGiven("error.not_appended", reasons=_reasons(reply.refusals))
        return int(reply.index)

    def ask(self, envelope: bytes) -> Iterator[Step]:
        return self._steps(lambda: self._stub.Ask(link_pb2.Statement(envelope=envelope)))

    def watch(self, query: str) -> Iterator[Step]:
        return self._steps(lambda: self._stub.Watch(link_pb2.QueryId(query=bytes.fromhex(query))))

    def cancel(self, query: str) -> Step:
        return Step.of_frame(self._call(lambda: self._stub.Cancel(link_pb2.QueryId(query=bytes.fromhex(query)), timeout=TIMEOUT_S)))

    def _steps(self, start: Callable[[], Any]) -> Iterator[Step]:
        call = self._call(start)
        try:
            while True:
                frame = self._call(lambda: next(call, None))
                if frame is None:
                    return
                step = Step.of_frame(frame)
                yield step
                if step.is_last:
                    return
        finally:
            call.cancel()

    def _call(self, rpc: Callable[[], Reply]) -> Reply:
        try:
            return rpc()
        except grpc.RpcError as error:
            status = error.code()
            if status is grpc.StatusCode.NOT_FOUND:
                raise NotGiven("error.not_known") from None
            raise Unreachable("error.unreachable", address=self._address, status=status.name.lower()) from None


def _reasons(found: Any) -> tuple[Reasoned, ...]:
    return tuple(Reasoned(code=each.code, expected=each.expected, got=each.got, subject=each.subject) for each in found)
