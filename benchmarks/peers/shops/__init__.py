"""The shops under attack: one app for each of the others, with the same goods and prices."""
