"""Bounded attacks on a real fleet, beside a normal caller, and what each must not do to it.

`table.py` lists the attacks, `answers.py` single requests with the responses they must get. The
suite starts a fleet of processes; with HOSTILE_URL set it attacks that address instead.
"""
