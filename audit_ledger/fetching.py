"""A log's files by their path, from a folder or over HTTP."""

import urllib.error
import urllib.request
from pathlib import Path

from audit_ledger.errors import Unavailable
from audit_ledger.tiles import Fetch, folder_fetch

TIMEOUT_S = 30


def is_url(target: str) -> bool:
    return target.startswith(("http://", "https://"))


def http_fetch(url: str) -> Fetch:
    """Reads a log that is served over HTTP."""

    def fetch(path: str) -> bytes:
        try:
            with urllib.request.urlopen(f"{url.rstrip('/')}/{path}", timeout=TIMEOUT_S) as answer:  # noqa: S310 - http(s) only, see `fetch_of`
                return bytes(answer.read())
        except (urllib.error.URLError, OSError, ValueError) as cause:
            raise Unavailable(f"log file {path} cannot be had from {url}: {type(cause).__name__}") from cause

    return fetch


def fetch_of(target: str) -> Fetch:
    return http_fetch(target) if is_url(target) else folder_fetch(Path(target))
