"""The log's side of several witnesses: asks all of them at once and goes on with the first who make the quorum.

Rules
- Each witness is asked by a thread of its own over its own connection. Nobody is waited for once the quorum stands: a late answer
  is dropped, and a witness that is still busy gets the newest checkpoint when it is free.
- A witness that is away, refuses, forgot (WitnessBehind) or is ahead (WitnessAhead) is one voice less and is named in `problems`;
  it is asked again with every checkpoint.
- When those who are left cannot make the quorum, nothing is cosigned: QuorumMissing names everybody's reason.
"""

import threading
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, wait

import structlog

from audit_ledger.errors import LedgerError, QuorumMissing, Superseded
from audit_ledger.policy import Policy
from audit_ledger.witness_client import Consistency, WitnessClient

_log = structlog.get_logger("witnesses")


class WitnessQuorum:
    """The witnesses of one log. `clients` are by the policy's names for them. One thread at a time may call `cosign`."""

    def __init__(self, policy: Policy, clients: Mapping[str, WitnessClient]) -> None:
        self._policy = policy
        self._voices = {name: _Voice(client) for name, client in clients.items()}
        self.problems: dict[str, LedgerError] = {}

    def cosign(self, checkpoint: bytes, consistency: Consistency) -> bytes:
        """Cosignature lines that make the quorum, and those of others who answered by then. Raises QuorumMissing."""
        asked = {voice.ask(checkpoint, consistency): name for name, voice in self._voices.items()}
        lines: dict[str, bytes] = {}
        waiting = set(asked)
        while waiting and not self._policy.is_quorum(frozenset(lines)):
            done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
            for each in done:
                self._take(asked[each], each, lines)
        if not self._policy.is_quorum(frozenset(lines)):
            reasons = "; ".join(f"{name}: {self.problems[name]}" for name in sorted(self.problems))
            raise QuorumMissing(f"cosigned by {sorted(lines) or 'nobody'}, the quorum is {self._policy.quorum!r}: {reasons}")
        return b"".join(lines.values())

    def close(self) -> None:
        for voice in self._voices.values():
            voice.close()

    def _take(self, name: str, answer: "Future[bytes]", lines: dict[str, bytes]) -> None:
        error = answer.exception()
        if error is None:
            lines[name] = answer.result()
            self.problems.pop(name, None)
            return
        if not isinstance(error, LedgerError):
            raise error
        before = self.problems.get(name)
        if before is None or before.code != error.code:
            _log.warning("witness does not cosign", witness=name, code=error.code, why=str(error))
        self.problems[name] = error


class _Voice:
    """One witness and the thread that asks it. At most one checkpoint waits: a newer one takes its place."""

    def __init__(self, client: WitnessClient) -> None:
        self._client = client
        self._news = threading.Condition()
        self._next: tuple[bytes, Consistency, Future[bytes]] | None = None
        self._is_closed = False
        threading.Thread(target=self._run, name="witness", daemon=True).start()

    def ask(self, checkpoint: bytes, consistency: Consistency) -> "Future[bytes]":
        answer: Future[bytes] = Future()
        with self._news:
            if self._next is not None:
                self._next[2].set_exception(Superseded("a newer checkpoint took its place"))
            self._next = checkpoint, consistency, answer
            self._news.notify()
        return answer

    def close(self) -> None:
        with self._news:
            self._is_closed = True
            self._news.notify()
        self._client.close()

    def _run(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._next is not None or self._is_closed)
                if self._next is None:
                    return
                (checkpoint, consistency, answer), self._next = self._next, None
            try:
                answer.set_result(self._client.cosign(checkpoint, consistency))
            except Exception as cause:  # noqa: BLE001 - raised again where it is waited for
                answer.set_exception(cause)
