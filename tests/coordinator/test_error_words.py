"""What `kapok-coordinator` says is wrong is told in the reader's language, with all that varies in it."""

from pathlib import Path

from coordinator.error_words import error_in_chinese
from tests.support.sentences import first_argument_of, not_in_chinese, sentences

FOLDER = Path(__file__).parents[2] / "coordinator"
# Errors that a command of the program ends with, by their classes; a strategy's speak to who writes one.
TOLD = {"CoordinatorError", "BadConfig", "BadFounding", "NotClosable", "NotFounded", "AuditorAway", "BadRequest"}
# Rules of the ledger and codes of a transport, as the auditor's program words them; what another wrote.
QUOTED = {"7: 7", "7", "7 7"}


def test_every_sentence_has_its_chinese_with_all_that_varies() -> None:
    found = sentences(FOLDER.rglob("*.py"), first_argument_of(TOLD)) - QUOTED
    assert len(found) > 20, "the search has found them"
    assert not_in_chinese(found, error_in_chinese) == []
