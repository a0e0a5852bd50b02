"""The auditor's process: the witness over HTTP and the opener over gRPC with mutual TLS, in one event loop.

The witness cosigns what extends the last checkpoint it saw; the opener follows and opens. SIGTERM and SIGINT end both: no new
requests, running ones are finished within the grace.
"""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn

from audit_ledger.cosignature import WitnessKey
from audit_ledger.init import witness_key
from audit_ledger.opener_core import OpenerCore
from audit_ledger.opener_keys import SealingKeys
from audit_ledger.opener_service import OpenerService, start_opener, wall_clock
from audit_ledger.opener_store import OpenerStore
from audit_ledger.party.home import Home, HomeError
from audit_ledger.witness_http import witness_app
from audit_ledger.witness_store import WitnessStore

GRACE_S = 5


class _Witness(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # signals are this process's, not uvicorn's


def open_witness(home: Home) -> WitnessStore:
    """The witness's memory, trusting the logs of the trust file if there is one, and those it was told to trust before."""
    key = home.key("witness")
    name = str(home.config().get("name", ""))
    store = WitnessStore(home.path / "witness.sqlite", WitnessKey(witness_key(name, key)), key, wall_clock)
    for log in home.trust().policy.logs if home.has("trust.policy") else ():
        store.trust(log.key)
    return store


def open_core(home: Home) -> OpenerCore:
    return OpenerCore(home.trust(), OpenerStore(home.path / "opener.sqlite"), SealingKeys(home), home.key("service"))


async def serve_witness(store: WitnessStore, listen: str, ready: Callable[[str], None]) -> None:
    """A witness alone, until a signal."""
    listener = _listener(listen)
    web = _web(store)
    task = asyncio.create_task(web.serve([listener]))
    try:
        await _started(web, task)
        ready("{}:{}".format(*listener.getsockname()[:2]))
        await _until_signal_or_end([task])
    finally:
        web.should_exit = True
        await asyncio.gather(task, return_exceptions=True)
        store.close()


def _web(store: WitnessStore) -> _Witness:
    return _Witness(uvicorn.Config(witness_app(store), log_level="warning", access_log=False, timeout_graceful_shutdown=GRACE_S))


async def _started(web: _Witness, task: "asyncio.Task[None]") -> None:
    while not web.started and not task.done():
        await asyncio.sleep(0.01)


async def serve(home: Home, listen: str, witness_listen: str, ready: Callable[[str, str], None]) -> None:
    """Until a signal. `ready` is told both addresses once requests are answered."""
    _require_certificate(home)
    home.trust()  # what is not there is said before the first port is bound
    service, witness = OpenerService(lambda: open_core(home)), open_witness(home)
    listener = _listener(witness_listen)
    web = _web(witness)
    server, port = await start_opener(service, home, listen)
    tasks = [asyncio.create_task(web.serve([listener])), asyncio.create_task(service.sweep_forever())]
    try:
        await _started(web, tasks[0])
        ready(f"{listen.rpartition(':')[0]}:{port}", "{}:{}".format(*listener.getsockname()[:2]))
        await _until_signal_or_end(tasks)
    finally:
        web.should_exit = True
        tasks[1].cancel()
        await server.stop(GRACE_S)
        await asyncio.gather(*tasks, return_exceptions=True)
        service.close()
        witness.close()


async def _until_signal_or_end(tasks: list["asyncio.Task[None]"]) -> None:
    stopped = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, stopped.set)
    waiting = asyncio.create_task(stopped.wait())
    done, _ = await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    for ended in done - {waiting}:
        ended.result()  # a server that ended by itself says why


def _listener(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        raise HomeError(f"{address}: expected host:port, like 127.0.0.1:7446")
    return socket.create_server((host, int(port)))


def _require_certificate(home: Home) -> None:
    for name in ("tls/key.pem", "tls/cert.pem", "tls/ca.pem"):
        if not home.has(name):
            raise HomeError(f"{home.path / name}: not there; run `kapok-audit enroll` first")
