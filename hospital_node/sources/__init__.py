"""The hospital's own database as the records: read for each question, bounded here (see README.md)."""
