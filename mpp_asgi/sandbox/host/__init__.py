"""The contract host: runs one host function over a snapshot of the ledger."""
