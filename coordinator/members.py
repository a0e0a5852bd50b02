"""Who is connected: one object per hospital's stream, with an outbox that only its writer task empties.

A member is told the ledger before anything that depends on it: `catch_up` puts the missing entries and the cosigned checkpoint
into the outbox, in order, ahead of an Offer or a member set. End of stream means nothing: a member that goes away mid-round is a
member whose contribution did not come.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import structlog

from audit_ledger.party.channel import CHUNK_BYTES
from coordinator.ledger import CityLedger
from coordinator.news import News
from protocols.v1 import link_pb2

log = structlog.get_logger("coordinator.members")
OUTBOX_FRAMES = 4096
FOLLOW_BYTES = 1024 * 1024
JOINED_BYTES = 256 * 1024
"""Beyond it nothing more joins a message; a frame alone is larger at times, and stays below what gRPC takes."""
CALM_S = 0.25


@dataclass(slots=True)
class Partial:
    """A contribution whose chunks are still coming."""

    header: link_pb2.Contribution
    data: bytearray = field(default_factory=bytearray)


@dataclass(slots=True, eq=False)
class Member:
    """A hospital's open stream. `told` is the ledger size that its outbox brings it to."""

    uri: str
    told: int
    takes_before: bool = False
    outbox: asyncio.Queue[link_pb2.CoordinatorFrame | None] = field(default_factory=lambda: asyncio.Queue(OUTBOX_FRAMES))
    partial: Partial | None = None
    is_paused: bool = False
    is_over: bool = False
    told_note: bytes = b""
    later: asyncio.TimerHandle | None = None
    listener: Callable[[], None] = lambda: None

    def send(self, frame: link_pb2.CoordinatorFrame) -> None:
        """Into the outbox. A hospital that reads too slowly loses its stream, and no question waits for it."""
        try:
            self.outbox.put_nowait(frame)
        except asyncio.QueueFull:
            log.warning("hospital reads too slowly", party=self.uri)
            close(self)

    async def next_frame(self) -> link_pb2.CoordinatorFrame | None:
        """What is to be sent next: all that waits as one message, where the hospital takes that; None at the end."""
        waiting, size = list[link_pb2.CoordinatorFrame](), 0
        while not self.is_over and (not waiting or (self.takes_before and not self.outbox.empty() and size < JOINED_BYTES)):
            frame = await self.outbox.get()
            if frame is None:
                self.is_over = True
            else:
                waiting.append(frame)
                size += frame.ByteSize()
        return _joined(waiting)

    def catch_up_soon(self, ledger: CityLedger) -> None:
        """`catch_up` a moment later, so that what one question logs comes in one piece; what depends on it brings it at once."""
        if self.later is None or self.later.when() <= asyncio.get_running_loop().time():
            self.later = asyncio.get_running_loop().call_later(CALM_S, self.catch_up, ledger)

    def catch_up(self, ledger: CityLedger) -> None:
        """Brings the member to the newest cosigned checkpoint."""
        if self.told_note == ledger.note or self.told > ledger.note_size:
            return
        for frame in follow_frames(ledger, self.told):
            self.send(link_pb2.CoordinatorFrame(follow=frame))
        self.told, self.told_note = ledger.note_size, ledger.note


def _joined(frames: list[link_pb2.CoordinatorFrame]) -> link_pb2.CoordinatorFrame | None:
    """One message of them all. They belong to other outboxes too, and stay as they are."""
    if len(frames) < 2:
        return frames[0] if frames else None
    joined = link_pb2.CoordinatorFrame(before=frames[:-1])
    joined.MergeFrom(frames[-1])
    return joined


def follow_frames(ledger: CityLedger, start: int) -> Iterator[link_pb2.Follow]:
    """Entries from `start` to the newest cosigned checkpoint, in pieces; only the last carries the checkpoint."""
    return in_pieces(start, ledger.entries(start, ledger.note_size), ledger.note)


def in_pieces(start: int, entries: Iterable[bytes], note: bytes) -> Iterator[link_pb2.Follow]:
    """Entries from `start` on in frames of a bounded size, with their checkpoint in the last."""
    piece: list[bytes] = []
    size, at = 0, start
    for entry in entries:
        if size + len(entry) > FOLLOW_BYTES and piece:
            yield link_pb2.Follow(start=at, entries=piece)
            at, piece, size = at + len(piece), [], 0
        piece.append(entry)
        size += len(entry)
    yield link_pb2.Follow(start=at, entries=piece, checkpoint=note)


def chunks(data: bytes) -> Iterator[link_pb2.Chunk]:
    view = memoryview(data)
    for at in range(0, len(data), CHUNK_BYTES):
        yield link_pb2.Chunk(data=bytes(view[at : at + CHUNK_BYTES]))


class Members:
    """The connected hospitals, by URI. A second stream of the same hospital replaces the first."""

    def __init__(self) -> None:
        self._members: dict[str, Member] = {}
        self.changed = News()
        """Somebody joined or left."""

    def join(self, member: Member) -> None:
        old = self._members.get(member.uri)
        if old is not None:
            close(old)
        self._members[member.uri] = member
        self.changed.tell()

    def leave(self, member: Member) -> None:
        if self._members.get(member.uri) is member:
            del self._members[member.uri]
        self.changed.tell()

    def get(self, uri: str) -> Member | None:
        return self._members.get(uri)

    def all(self) -> list[Member]:
        return list(self._members.values())


def close(member: Member) -> None:
    """Ends the member's writer after what is in its outbox, or at once if that is full."""
    try:
        member.outbox.put_nowait(None)
    except asyncio.QueueFull:
        while not member.outbox.empty():
            member.outbox.get_nowait()
        member.outbox.put_nowait(None)
