"""The coordinator's side of an opening: brings the auditor's service up to date, hands over the member set, logs its `opening`.

The sum leaves the auditor only when its own `opening` entry stands under a cosigned checkpoint; the same request asked again after
a crash is answered from its cache, so an opened sum is never lost and never opened for another set. A segment's rounds follow one
another on one stream; where that has ended, the next one begins anew.
"""

import asyncio
import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import grpc
import grpc.aio
import structlog

from audit_ledger.party.channel import open_channel
from audit_ledger.party.home import Home
from audit_ledger.view import LedgerView
from coordinator.errors import AuditorAway
from coordinator.ledger import CityLedger
from coordinator.members import chunks, follow_frames
from coordinator.register import Contributed
from protocols.clock import month
from protocols.errors import BadSignature
from protocols.refusal import Reason, Refusal
from protocols.secagg.binding import Binding
from protocols.secagg.sealing import require_sealing_key
from protocols.statements import Sealing
from protocols.v1 import link_pb2, link_pb2_grpc

log = structlog.get_logger("coordinator.opening")
TIMEOUT_S = 60.0
S_PER_BYTE = 2e-5
"""The auditor takes half a millisecond for an encrypted bucket of 128 bytes; five times as long is waited for it."""
Call: TypeAlias = "grpc.aio.StreamStreamCall[link_pb2.OpenRequest, link_pb2.OpenReply]"


class OpeningRefused(Exception):
    """The auditor said no; `refusals` are its reasons."""

    def __init__(self, refusals: list[Refusal]) -> None:
        super().__init__(", ".join(str(each.reason) for each in refusals))
        self.refusals = refusals


@dataclass(frozen=True, slots=True)
class OpeningRequest:
    """A complete round, as the auditor has to see it. `hashes` are SHA-256 of the masked vectors, by URI.

    For residents `encrypted` is the sum of the masked vectors under the key `public`.
    """

    binding: Binding
    made: Sequence[Contributed]
    hashes: Mapping[str, bytes]
    first_round: int
    last_round: int
    public: bytes = b""
    encrypted: bytes = b""

    @property
    def is_segment(self) -> bool:
        return self.first_round > 0

    @property
    def is_last(self) -> bool:
        """Whether nothing more of its question is to be opened."""
        return self.binding.round == self.last_round


class Auditor:
    """A channel to the auditor's service. The month's sealing certificate is fetched once."""

    def __init__(self, home: Home, address: str, uri: str) -> None:
        self.address = address
        self._channel = open_channel(home, address, uri)
        self._stub = link_pb2_grpc.OpenerStub(self._channel)
        self._sealing: dict[str, tuple[bytes, bytes]] = {}
        self._kept: dict[bytes, _Conversation] = {}

    async def close(self) -> None:
        await self._channel.close()

    async def sealing(self, at: int, log: str, service: bytes) -> bytes:
        """The month's sealing certificate (JSON), fetched once a month and again after the auditor's service key was replaced.

        One that the service key in force did not sign is handed on and not kept: hospitals name what is wrong with it.
        """
        name = month(at)
        kept, key = self._sealing.get(name, (b"", b""))
        if kept and key == service:
            return kept
        try:
            reply = await self._stub.Sealing(link_pb2.SealingRequest(month=name), timeout=TIMEOUT_S)
        except grpc.RpcError as error:
            raise AuditorAway(f"{self.address}: {_code(error)}") from None
        certificate = Sealing.model_validate_json(reply.certificate)
        with contextlib.suppress(BadSignature):
            require_sealing_key(certificate, log, service)
            self._sealing[name] = reply.certificate, service
        return reply.certificate

    async def can_count_residents(self, at: int) -> bool:
        """Whether the auditor's program knows the zero test. It is asked each time: the auditor may have renewed it."""
        try:
            return (await self._stub.Sealing(link_pb2.SealingRequest(month=month(at)), timeout=TIMEOUT_S)).zero_test
        except grpc.RpcError as error:
            raise AuditorAway(f"{self.address}: {_code(error)}") from None

    async def prepare(self, query: bytes, ledger: CityLedger) -> None:
        """Opens the stream on which this question's sum will be asked for, and tells the opener the ledger, while hospitals count.
        A failure shows when it is asked."""
        conversation = _Conversation(self._stub.Open(), ledger)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await conversation.tell_ledger()
        except (grpc.RpcError, AuditorAway, TimeoutError) as error:
            conversation.call.cancel()
            log.warning("opener not told", code=_code(error) if isinstance(error, grpc.RpcError) else AuditorAway.code)
        except BaseException:  # the contributions were there before
            conversation.call.cancel()
            raise
        else:
            self.hang_up(query)
            self._kept[query] = conversation

    async def open(self, request: OpeningRequest, ledger: CityLedger) -> bytes:
        """The sum of the members' seed streams (ring elements), for residents the blinded cells.

        Raises OpeningRefused or AuditorAway.
        """
        query, patience_s = request.binding.query, TIMEOUT_S + len(request.encrypted) * S_PER_BYTE
        if (kept := self._kept.pop(query, None)) is not None:
            # In a first round it may be the ledger, told while hospitals counted, that was refused; a sum is refused again.
            told_before = (OpeningRefused,) if request.binding.round == request.first_round else ()
            with contextlib.suppress(AuditorAway, *told_before):
                return await self._asked(kept, request, patience_s)
        return await self._asked(_Conversation(self._stub.Open(), ledger), request, patience_s)

    async def _asked(self, conversation: "_Conversation", request: OpeningRequest, patience_s: float) -> bytes:
        try:
            async with asyncio.timeout(patience_s):
                opened = await conversation.opened(request)
                if request.is_last:
                    await conversation.call.done_writing()
        except BaseException as error:
            conversation.call.cancel()
            if isinstance(error, grpc.RpcError):
                raise AuditorAway(f"{self.address}: {_code(error)}") from None
            if isinstance(error, TimeoutError):
                raise AuditorAway(f"{self.address}: no answer within {patience_s:.0f} s") from None
            if isinstance(error, asyncio.InvalidStateError):  # what gRPC says of a write to a stream that is over
                raise AuditorAway(f"{self.address}: the stream has ended") from None
            raise
        if not request.is_last:
            self._kept[request.binding.query] = conversation
        return opened

    def hang_up(self, query: bytes) -> None:
        """Ends the stream of a question of which nothing more is to be opened."""
        if (kept := self._kept.pop(query, None)) is not None:
            kept.call.cancel()


def require_committed(view: LedgerView, binding: Binding, opened: bytes) -> None:
    """Raises OpeningRefused where this is not the sum that the logged opening commits to: nobody could make the release again."""
    if not view.questions[binding.query.hex()].openings[binding.round][2].commits_to(opened):
        raise OpeningRefused([Refusal(Reason.INCONSISTENT, "the sum that the logged opening commits to", "another", "opening")])


async def _next(call: Call) -> link_pb2.OpenReply:
    reply = await call.read()
    if reply is grpc.aio.EOF or not isinstance(reply, link_pb2.OpenReply):
        raise AuditorAway("the auditor's service ended the stream before it was done")
    return reply


def _code(error: grpc.RpcError) -> str:
    return str(error.code().name).lower() if isinstance(error, grpc.aio.AioRpcError) else "unavailable"


@dataclass(slots=True)
class _Conversation:
    """One `Open` call, frame by frame. `followed` is None until the auditor has said how much of the ledger it holds."""

    call: Call
    ledger: CityLedger
    followed: int | None = None
    told_note: bytes = field(default=b"", repr=False)

    async def opened(self, request: OpeningRequest) -> bytes:
        await self.tell_ledger()
        for chunk in chunks(request.encrypted):
            await self.call.write(link_pb2.OpenRequest(encrypted=chunk))
        await self.call.write(link_pb2.OpenRequest(members=_members(request)))
        total = bytearray()
        while True:
            reply = await _next(self.call)
            match reply.WhichOneof("frame"):
                case "opening":
                    await self.ledger.append([reply.opening.envelope])
                    await self.ledger.cosigned()
                    await self.tell_ledger()
                case "sum":
                    total += reply.sum.data
                case "complete":
                    return bytes(total)
                case "refused":
                    raise OpeningRefused([_refusal(each) for each in reply.refused.refusals])

    async def tell_ledger(self) -> None:
        """What the auditor has not been told on this stream; nothing where the checkpoint is the one it was told last."""
        if self.followed is None:
            self.followed = (await _next(self.call)).followed
        if self.told_note == self.ledger.note:
            return
        note, size = self.ledger.note, self.ledger.note_size
        for frame in follow_frames(self.ledger, self.followed):
            await self.call.write(link_pb2.OpenRequest(follow=frame))
        self.followed, self.told_note = size, note


def _members(request: OpeningRequest) -> link_pb2.Members:
    seeds = [
        link_pb2.SealedSeed(
            uri=each.uri,
            sealed=each.sealed,
            receipt=b"" if request.is_segment else each.receipt,
            masked_hash=request.hashes[each.uri],
            round_signature=each.signature,
        )
        for each in request.made
    ]
    rounds = {"first_round": request.first_round, "last_round": request.last_round}
    return link_pb2.Members(preimage=request.binding.encode(), seeds=seeds, public=request.public, **rounds)


def _refusal(reason: link_pb2.Reason) -> Refusal:
    try:
        code = Reason(reason.code)
    except ValueError:
        code = Reason.INTERNAL
    return Refusal(code, reason.expected, reason.got, reason.subject)
