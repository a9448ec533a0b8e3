"""Checks before a release, with programs that come from elsewhere: each has its own make target, none is in `make test`."""
