"""The auditor's process: the witness over HTTP and the opener over gRPC with mutual TLS, in one event loop.

The witness cosigns what extends the last checkpoint it saw; the opener follows and opens. SIGTERM and SIGINT end both: no new
requests, running ones are finished within the grace.
"""

import asyncio
import signal
from collections.abc import Callable

from audit_ledger.before import PastLog, finish, homes
from audit_ledger.cosignature import WitnessKey
from audit_ledger.init import witness_key
from audit_ledger.opener_core import OpenerCore
from audit_ledger.opener_keys import SealingKeys
from audit_ledger.opener_service import OpenerService, start_opener, wall_clock
from audit_ledger.opener_store import OpenerStore
from audit_ledger.party.home import Home, HomeError
from audit_ledger.party.process import settle
from audit_ledger.party.web import GRACE_S, Web
from audit_ledger.witness_http import witness_app
from audit_ledger.witness_store import WitnessStore


def open_witness(home: Home) -> WitnessStore:
    """The witness's memory, trusting the logs of the trust file if there is one, and those it was told to trust before."""
    key = home.key("witness")
    name = str(home.config().get("name", ""))
    store = WitnessStore(home.path / "witness.sqlite", WitnessKey(witness_key(name, key)), key, wall_clock)
    for log in home.trust().policy.logs if home.has("trust.policy") else ():
        store.trust(log.key)
    return store


def open_core(home: Home) -> OpenerCore:
    """The opener, on the present log; what a log before it carries is there from the start."""
    _, *before = (each.path / "opener.sqlite" for each in homes(home))
    ended = [OpenerStore(each) for each in before if each.exists()]
    store = OpenerStore(home.path / "opener.sqlite")
    return OpenerCore(home.trust(), store, SealingKeys(home), home.key("service"), PastLog.read(home), ended)


async def serve_witness(store: WitnessStore, listen: str, ready: Callable[[str], None]) -> None:
    """A witness alone, until a signal."""
    web = Web(witness_app(store), listen)
    try:
        task = await web.start()
        ready(web.address)
        await _until_signal_or_end([task])
    finally:
        await web.stop()
        store.close()


async def serve(home: Home, listen: str, witness_listen: str, ready: Callable[[str, str], None]) -> None:
    """Until a signal. `ready` is told both addresses once requests are answered."""
    _require_certificate(home)
    finish(home)  # `found --after` has made the move to the next log ready
    home.trust()  # what is not there is said before the first port is bound
    service, witness = OpenerService(lambda: open_core(home)), open_witness(home)
    web = Web(witness_app(witness), witness_listen)
    server, port = await start_opener(service, home, listen)
    sweeper = asyncio.create_task(service.sweep_forever())
    try:
        task = await web.start()
        settle()
        ready(f"{listen.rpartition(':')[0]}:{port}", web.address)
        await _until_signal_or_end([task, sweeper])
    finally:
        sweeper.cancel()
        await server.stop(GRACE_S)
        await web.stop()
        await asyncio.gather(sweeper, return_exceptions=True)
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


def _require_certificate(home: Home) -> None:
    for name in ("tls/key.pem", "tls/cert.pem", "tls/ca.pem"):
        if not home.has(name):
            raise HomeError(f"{home.path / name}: not there; run `kapok-audit enroll` first")
