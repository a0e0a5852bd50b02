"""What can go wrong in the node as a program; a legitimate no is a list of `Refusal`.

    NodeError               node.error      root
    ├── InvalidConfig       node.config     config.toml, policy.toml, peers.txt or dataset.toml is not as it has to be
    ├── GradientError       node.gradient   a study's gradients are not what its question says
    ├── JournalFailed       node.journal    the journal cannot be read or written; nothing was promised that it does not hold
    ├── StudyFailed         node.study      a study's process cannot start, ended, or gave no answer
    │   └── WrongSize       node.study      its model has another number of weights than the question states
    ├── Usage               node.usage      the command line asks for something that cannot be done as written
    └── Withheld            node.withheld   a contribution must not be made: an exact count failed, or it was sent and is gone

No message holds a value that came out of a record.
"""


class NodeError(Exception):
    """Root of this package's errors."""

    code = "node.error"


class InvalidConfig(NodeError):
    """A file that people write is wrong; the message says which line of thought to correct."""

    code = "node.config"


class GradientError(NodeError):
    """The study's code gave something that is no gradient of its model; says what was expected, never a number of it."""

    code = "node.gradient"


class JournalFailed(NodeError):
    """SQLite or the disk refused. Whoever sees this has written nothing."""

    code = "node.journal"


class StudyFailed(NodeError):
    """Says what happened to the process, never a word of what it wrote."""

    code = "node.study"


class WrongSize(StudyFailed):
    """That it is so may be told to the asker. The number that it has is the study's own word, and stays here."""


class Withheld(NodeError):
    """A contribution that is not made: an exact one whose count failed (the node has paused and says so in the ledger), or a second
    one for a member set whose first was sent and is no longer kept."""

    code = "node.withheld"


class Usage(NodeError):
    """A command that makes no sense here; the message names the nearest one that does."""

    code = "node.usage"
