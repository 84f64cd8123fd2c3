"""How fast it is, beside hand-written SQL in the same run: `make bench`. Not part of the tests: figures depend on the machine."""
