"""The tiled log, its rules, and what every party shares to reach the others.

Whoever imports this before gRPC speaks TLS 1.3 or nothing. gRPC for Python takes no lowest version, but reads once, when it is
first imported, which suites it may use below 1.3 (those of 1.3 are not in that list): the one named here needs a shared key that
no party has, so a handshake below 1.3 finds no suite, with any certificate, on both sides.
"""

import os
import sys

_NAME, _NONE_OF_OURS = "GRPC_SSL_CIPHER_SUITES", "ECDHE-PSK-AES256-CBC-SHA"

BARS_OLD_TLS = "grpc" not in sys.modules or os.environ.get(_NAME) == _NONE_OF_OURS
"""False where a user's program imported gRPC first: then a client would take 1.2, and a door is not opened."""

os.environ[_NAME] = _NONE_OF_OURS
