"""The hospital's own records: read from its files, kept in its own DuckDB, never sent anywhere."""
