"""What must survive: one contract (`contract`), one backend a module, one test suite for all."""
