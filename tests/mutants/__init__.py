"""Guards of who may do what, each removed once: a test has to fail. `make mutants` runs it; `table.py` has the list."""
