"""Frames out of the node's answers; the only place that knows both."""

from collections.abc import Iterable
from typing import Any

from hospital_node.journal import StoredContribution
from hospital_node.offering import Reply
from protocols.errors import MalformedBytes
from protocols.refusal import Refusal
from protocols.secagg.binding import Binding
from protocols.v1 import link_pb2


def reply(given: Reply) -> link_pb2.NodeFrame:
    statement = link_pb2.Statement(envelope=given.envelope)
    return link_pb2.NodeFrame(ready=statement) if given.is_ready else link_pb2.NodeFrame(refused=statement)


def contribution(made: StoredContribution, chunk_bytes: int) -> list[link_pb2.NodeFrame]:
    """Head, chunks and end; they stay together on the stream. A vector of one chunk travels in the head, and nothing follows."""
    name = _name(bytes.fromhex(made.query), made.round, made.attempt)
    head = link_pb2.Contribution(
        **name, sealed=made.sealed, receipt=made.receipt, round_signature=made.round_signature, total_bytes=len(made.masked)
    )
    if len(made.masked) <= chunk_bytes:
        head.masked = made.masked
        return [link_pb2.NodeFrame(contribution=head)]
    pieces = (made.masked[start : start + chunk_bytes] for start in range(0, len(made.masked), chunk_bytes))
    return [
        link_pb2.NodeFrame(contribution=head),
        *(link_pb2.NodeFrame(chunk=link_pb2.Chunk(data=piece)) for piece in pieces),
        link_pb2.NodeFrame(complete=link_pb2.ContributionComplete(**name)),
    ]


def binding_refused(preimage: bytes, refusals: Iterable[Refusal]) -> link_pb2.NodeFrame:
    """Names the attempt as far as the preimage can be read."""
    try:
        binding = Binding.decode(preimage)
        name = _name(binding.query, binding.round, binding.attempt)
    except MalformedBytes:
        name = {}
    reasons = [
        link_pb2.Reason(code=str(each.reason), expected=each.expected, got=each.got, subject=each.subject) for each in refusals
    ]
    return link_pb2.NodeFrame(binding_refused=link_pb2.BindingRefused(**name, refusals=reasons))


def _name(query: bytes, round_: int, attempt: int) -> dict[str, Any]:
    return {"query": query, "round": round_, "attempt": attempt}
