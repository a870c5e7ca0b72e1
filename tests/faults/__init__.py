"""The fault runs: the system as real processes, kill -9 of every role under load, and what must hold after.

`history` reads the journal raw, `ledger` and `executions` are what client and workers wrote down themselves,
`checks` holds one against the others. None of these uses the product's code, so that what they prove does not
depend on it.
"""
