"""Every figure the README quotes, by one command: `make bench`, or `python -m benchmarks NAME`."""
