"""The Stellar Asset Contract: any asset, XLM included, as a SEP-41 token."""
