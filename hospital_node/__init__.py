"""The hospital's agent: records, policy, budget, answers."""

import audit_ledger  # noqa: F401 (before any module here imports gRPC: it bars TLS below 1.3)
