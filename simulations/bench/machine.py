"""How fast this machine is right now, for whoever compares milliseconds with another's, or with those of an hour ago.

What is measured is processor time alone: no disk, no other program of ours. Two cores of a rented machine may be the two threads of
one: then a loop on each takes half as long again or more, and no program that keeps both busy gets twice the work done.
"""

import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from protocols.identity import SigningKey
from simulations.bench.rows import Row, load

LOOPS, TURNS = 600_000, 5
VERIFICATIONS = 2_000
_ON_A_SIGN = "import sys; from simulations.bench.machine import loop_ms; print(flush=True); sys.stdin.readline(); print(loop_ms())"


def loop_ms() -> float:
    """Milliseconds of processor time for a million steps of a loop that holds nothing: the median of some."""
    return statistics.median(_loop_ms() for _ in range(TURNS))


def _loop_ms() -> float:
    started, total = time.thread_time(), 0
    for number in range(LOOPS):
        total += number * number
    return 1e9 * (time.thread_time() - started) / LOOPS


def rows() -> list[Row]:
    """A bare loop alone and on every core at once, and a signature's verification."""
    alone_ms, cores = loop_ms(), len(os.sched_getaffinity(0))
    at_once_ms = _on_every_core(cores)
    return [
        Row.measured("a million steps of a bare loop", "ms", alone_ms, "processor time"),
        Row.measured("the same on every core at once", "ms", at_once_ms, f"median of {cores}", reference=alone_ms),
        Row.measured("one Ed25519 verification", "us", _verification_us(), f"of 600 bytes, processor time; {load()}"),
    ]


def _on_every_core(cores: int) -> float:
    """As many programs, which begin on one sign once all have said that they are loaded."""
    command = [sys.executable, "-c", _ON_A_SIGN]
    with ExitStack() as running:
        programs = [
            running.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
            for _ in range(cores)
        ]
        for each in programs:
            assert each.stdout is not None
            each.stdout.readline()
        for each in programs:
            assert each.stdin is not None
            each.stdin.write("\n")
            each.stdin.flush()
        return statistics.median(float(each.communicate()[0]) for each in programs)


def _verification_us() -> float:
    key, message = SigningKey.generate(), os.urandom(600)
    public, signature = Ed25519PublicKey.from_public_bytes(key.public), key.sign(message)
    started = time.thread_time()
    for _ in range(VERIFICATIONS):
        public.verify(signature, message)
    return 1e6 * (time.thread_time() - started) / VERIFICATIONS
