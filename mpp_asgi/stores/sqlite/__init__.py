"""The store in a SQLite file, for any number of processes on one host."""
