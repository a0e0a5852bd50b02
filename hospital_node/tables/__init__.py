"""Research tables that a hospital registers beside its records: what IT declares of them, and how they come in."""
