"""`modelfleet bench compare`: speed of two servers in turns, and agreement of their outputs.

A is the reference, B the server that is compared with it.
"""
