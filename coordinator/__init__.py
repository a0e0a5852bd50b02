"""The coordinator of a city: register, admission, rounds, release and doors. Trusted with availability, not with privacy."""

import audit_ledger  # noqa: F401 (before any module here imports gRPC: it bars TLS below 1.3)
