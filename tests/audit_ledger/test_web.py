"""Where an HTTP application listens."""

import socket

import pytest

from audit_ledger.party.home import HomeError
from audit_ledger.party.web import listening


def test_what_a_listener_accepts_sends_without_waiting_for_acknowledgements() -> None:
    """Else each answer, written as head and body, takes 40 ms: Nagle's algorithm on this side, delayed acknowledgement there."""
    with listening("127.0.0.1:0") as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize("address", ["", "7446", "127.0.0.1:", "127.0.0.1:port", "192.0.2.1:7446"])
def test_an_address_where_nobody_can_listen_is_named(address: str) -> None:
    with pytest.raises(HomeError, match=r"expected host:port|cannot listen there"):
        listening(address)
