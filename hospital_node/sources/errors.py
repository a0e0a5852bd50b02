"""What keeps a hospital's database from being asked; each is found before a Ready, by the same checks as `doctor`.

    SourceError (a RecordsError)    source.error            root
    ├── InvalidSource               source.config           source.toml is not of its form, or its password file is not safe
    ├── MissingDriver               source.driver           the extra with the driver is not installed
    ├── Unreachable                 source.unreachable      no connection, or the login is refused
    ├── MissingColumns              source.columns          a mapped table or column is not there, or is no date
    ├── NotReadOnly                 source.not_read_only    the login may do more than read
    ├── WrongZone                   source.zone             the server's calendar is not the hospital's
    ├── SlowSource                  source.slow             no answer within the time allowed
    └── SourceFailed                source.failed           the server refused a statement

No message holds a value of a record or the text of a driver's exception, which may quote one.
"""

from hospital_node.records.errors import RecordsError


class SourceError(RecordsError):
    """Root of the errors of a database as source."""

    code = "source.error"


class InvalidSource(SourceError):
    """The mapping file breaks its form; the message names every place."""

    code = "source.config"


class MissingDriver(SourceError):
    """A Python package is missing; the message names the extra."""

    code = "source.driver"


class Unreachable(SourceError):
    """The server does not answer at its address, or does not let this login in."""

    code = "source.unreachable"


class MissingColumns(SourceError):
    """The mapping names what the server has not."""

    code = "source.columns"


class NotReadOnly(SourceError):
    """A login that can write is not used, even to read."""

    code = "source.not_read_only"


class WrongZone(SourceError):
    """The session's clock differs from the hospital's: dates would move to the neighbouring day."""

    code = "source.zone"


class SlowSource(SourceError):
    """A statement was cut off at its time."""

    code = "source.slow"


class SourceFailed(SourceError):
    """Any other refusal of the server, named by its kind alone."""

    code = "source.failed"
