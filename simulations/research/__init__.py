"""Published cohorts as registered tables of several hospitals, and what their pooled rows say: what exact mode has to equal."""
