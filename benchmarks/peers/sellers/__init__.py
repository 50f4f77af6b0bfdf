"""The shops as those know them who attack them: how to ask, how to pay, what was paid."""
