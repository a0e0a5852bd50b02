import audit_ledger  # noqa: F401 (before any test imports gRPC, as in every program)
