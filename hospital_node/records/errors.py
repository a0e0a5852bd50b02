"""What can go wrong with the records as a whole; a single bad record is counted in the report instead.

    RecordsError                records.error       root
    ├── NoRecords               records.none        nothing was ever imported into this folder
    ├── UnreadableSource        records.source      a file given to the import cannot be read as what its name says
    │   ├── NoSuchSource        records.missing     a path names nothing that could be imported
    │   └── NothingLoaded       records.nothing     (importing) no record of the files could be loaded
    ├── InvalidMapping          records.mapping     the mapping file or code map breaks its form
    ├── InvalidSchema           records.schema      a registered table's schema breaks its form
    ├── InvalidTable            records.table       a registered table's file does not hold what its schema says
    ├── ImportRunning           records.running     another import holds the folder
    └── StoreFailed             records.store       the database or the disk refused

No message holds a value that came out of a record: file names, line numbers, column names of the mapping and codes only.
"""


class RecordsError(Exception):
    """Root of the errors of this package."""

    code = "records.error"


class NoRecords(RecordsError):
    """The folder holds no generation in force."""

    code = "records.none"


class UnreadableSource(RecordsError):
    """A file given to the import is empty, damaged, or not of the form its name says."""

    code = "records.source"


class NoSuchSource(UnreadableSource):
    """A path given to the import is not there, is a folder without such files, or has a name of another kind."""

    code = "records.missing"


class InvalidMapping(RecordsError):
    """A mapping file or a code map does not have the form of the example."""

    code = "records.mapping"


class InvalidSchema(RecordsError):
    """What IT declares of a registered table does not have the form of the example."""

    code = "records.schema"


class InvalidTable(RecordsError):
    """A cell, row or header of a registered table's file is not as declared; named by its place, never by what it holds."""

    code = "records.table"


class ImportRunning(RecordsError):
    """A second import was started while one is at work: the later swap would lose the earlier one's records."""

    code = "records.running"


class StoreFailed(RecordsError):
    """The database or the disk refused a step; the generation in force is untouched."""

    code = "records.store"
