"""``ironbench selftest``: any load generator against servers whose behaviour is known."""
