"""The coordinator's doors: the hospitals' streams, the desk for bureau and auditor, enrolment, and the ledger's tiles over HTTP."""
