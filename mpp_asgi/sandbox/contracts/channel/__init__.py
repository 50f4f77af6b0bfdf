"""The one-way payment channel: a funder deposits, the recipient withdraws against signatures."""
