"""What a study's process writes is read as it was written, however it comes, and never waited for without end."""

import os
from collections.abc import Iterator
from threading import Thread

import pytest

from hospital_node.errors import StudyFailed
from hospital_node.studies.answers import LONGEST_LINE, Answers


@pytest.fixture
def ends() -> Iterator[tuple[int, int]]:
    source, out = os.pipe()
    yield source, out
    os.close(source)


def test_lines_and_bytes_come_back_as_they_were_written(ends: tuple[int, int]) -> None:
    source, out = ends
    body = bytes(range(256)) * 1024  # more than a pipe holds

    def write() -> None:
        for start in range(0, len(sent), 777):
            os.write(out, sent[start : start + 777])
        os.close(out)

    sent = b"{}\n" + body + b"a line\n" + b"last"
    Thread(target=write).start()
    answers = Answers(source)
    assert (answers.line(), answers.exactly(len(body)), answers.line()) == (b"{}\n", body, b"a line\n")
    with pytest.raises(StudyFailed, match="ended within an answer"):
        answers.exactly(5)


def test_a_process_that_says_nothing_is_not_waited_for(ends: tuple[int, int]) -> None:
    source, out = ends
    os.write(out, b"half a li")
    with pytest.raises(StudyFailed, match="says nothing"):
        Answers(source, patience_s=0.01).line()
    os.close(out)


def test_a_line_without_an_end_is_no_frame(ends: tuple[int, int]) -> None:
    source, out = ends
    Thread(target=lambda: (os.write(out, b"x" * (LONGEST_LINE + 2)), os.close(out))).start()
    with pytest.raises(StudyFailed, match="expected a frame"):
        Answers(source).line()
