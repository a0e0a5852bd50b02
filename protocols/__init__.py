"""What crosses between roles: messages, statements, identities, the query language, secure aggregation. No database, no socket."""
