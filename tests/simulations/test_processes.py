"""A city is founded in whatever language its reader has, and a program that does not get ready says where to look."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from simulations import processes
from simulations.processes import READY, CommandFailed, Services, inherited, program

CHINESE = {"LANG": "zh_CN.UTF-8", "LC_ALL": "", "LC_MESSAGES": ""}


def _witness(home: Path) -> tuple[str, ...]:
    return ("kapok-audit", "witness", "--home", str(home), "--name", "w", "--listen", "127.0.0.1:0")


def test_a_program_of_a_city_gets_ready_where_the_reader_is_chinese(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in CHINESE.items():
        monkeypatch.setenv(name, value)
    with Services(tmp_path) as services:
        assert services.start("witness", *_witness(tmp_path / "w")).is_running()


def test_the_line_that_says_ready_begins_so_in_chinese_too(tmp_path: Path) -> None:
    """Whoever watches over a service waits for it, in any language."""
    command = [program("kapok-audit"), *_witness(tmp_path / "w")[1:]]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ | CHINESE) as running:
        assert running.stdout is not None
        line = running.stdout.readline()
        running.terminate()
    assert line.startswith(READY)
    assert "见证" in line.decode()


def test_a_program_that_does_not_get_ready_says_how_long_and_where_its_words_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "START_TIMEOUT_S", 5.0)
    with (
        Services(tmp_path / "logs") as services,
        pytest.raises(CommandFailed, match=r"within 5 s; .*none\.log") as caught,
    ):
        services.start("none", "kapok-audit", "witness", "--home", str(tmp_path / "none" / "x"), "--listen", "nowhere")
    assert "Traceback" not in str(caught.value)


def test_a_program_of_a_city_has_no_descriptor_of_who_started_the_city(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    lock = os.open(tmp_path / "lock", os.O_RDONLY)
    os.set_inheritable(lock, True)
    try:
        assert lock in inherited(), "as a shell leaves it open in whatever it starts"
        with Services(tmp_path) as services:
            process = services.start("witness", *_witness(tmp_path / "w")).process
            assert process is not None
            opened = [os.readlink(each) for each in Path(f"/proc/{process.pid}/fd").iterdir() if each.is_symlink()]
    finally:
        os.close(lock)
    assert len(opened) > 3, "the descriptors were seen"
    assert str(tmp_path / "lock") not in opened
    assert lock not in inherited()


def _ignoring_interrupts() -> None:
    """As a shell does for what it starts in the background."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@pytest.mark.wire
def test_a_demo_in_the_background_ends_by_an_interrupt_and_its_city_with_it(tmp_path: Path) -> None:
    command = [program("kapok-sim"), "demo", "--out", str(tmp_path), "--hospitals", "4", "--visits", "400", "--keep"]
    log = tmp_path / "logs" / "coordinator.log"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, preexec_fn=_ignoring_interrupts) as demo:
        try:
            until = time.monotonic() + 120
            while not log.exists():
                assert time.monotonic() < until, "the city's first program was not started"
                assert demo.poll() is None
                time.sleep(0.05)
            demo.send_signal(signal.SIGINT)
            demo.wait(60)
        finally:
            demo.kill()
    assert demo.returncode == 130
    assert [each for each in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path).encode() in _line(each)] == []


def _line(place: Path) -> bytes:
    try:
        return place.read_bytes()
    except OSError:
        return b""  # it has ended
