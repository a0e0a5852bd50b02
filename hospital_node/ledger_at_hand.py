"""The ledger for the commands: what the journal followed, and on request what the coordinator has beyond it, verified the same way.

Nothing is written: `run` may be at work on the same journal.
"""

import time

import grpc

from audit_ledger.before import begun
from audit_ledger.errors import Unavailable
from audit_ledger.follower import Follower
from audit_ledger.party.channel import open_blocking_channel
from audit_ledger.party.home import Home
from audit_ledger.tree import leaf_hash
from hospital_node.config import Config
from hospital_node.journal import Journal
from protocols.v1 import link_pb2, link_pb2_grpc

TIMEOUT_S = 20.0


def followed(home: Home, journal: Journal) -> Follower:
    follower = begun(home)
    entries = journal.entries()
    if entries and leaf_hash(entries[0]) == follower.trust.entry0:  # else of the log before: `run` begins the present one
        follower.restore(entries)
    return follower


def fetch(home: Home, config: Config, follower: Follower) -> None:
    """Follows up to the coordinator's newest checkpoint. Raises a LedgerError if it cannot be reached or believed."""
    start, entries, note = follower.size, list[bytes](), b""
    try:
        with open_blocking_channel(home, config.link_address, config.coordinator) as channel:
            request = link_pb2.EntriesRequest(start=start)
            for piece in link_pb2_grpc.DeskStub(channel).Entries(request, timeout=TIMEOUT_S):
                entries += piece.entries
                note = bytes(piece.checkpoint) or note
    except grpc.RpcError as error:
        raise Unavailable(f"{config.link_address}: {error.code().name.lower()}") from None
    except FileNotFoundError:
        raise Unavailable("no certificate yet; run `kapok-node enroll` first") from None
    follower.follow(start, entries, note, int(time.time()))
