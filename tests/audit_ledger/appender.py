"""A child process that appends to a log until it is killed, and prints each acknowledged (number, position).

python -m tests.audit_ledger.appender HOME FIRST_NUMBER
"""

import sys
from pathlib import Path

from tests.audit_ledger import known
from tests.audit_ledger.test_log import keyed, open_log


def main(home: Path, number: int) -> None:
    with open_log(home) as log:
        sys.stdout.write("open\n")
        sys.stdout.flush()
        while True:
            count = 1 + number % 90
            positions = log.append(keyed(known.numbered(count, start=number)), is_signed=bool(count % 2)).result()
            acknowledged = [f"{number + at} {position}\n" for at, position in enumerate(positions)]
            sys.stdout.write("".join(acknowledged))
            sys.stdout.flush()
            log.publish(log.checkpoint_covering(log.size))
            number += count


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
