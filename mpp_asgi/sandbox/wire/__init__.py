"""XDR as the network speaks it: parsed values with their bytes kept beside them.

Written by hand because the ledger needs three things a generated codec does not give: the exact
bytes of every part (they are what gets hashed, compared and stored), strictness (non-zero padding,
trailing bytes and oversized fields are errors), and speed.
"""
