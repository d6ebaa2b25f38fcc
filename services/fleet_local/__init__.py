"""Local mode: one command that runs a fleet as supervised processes on this machine.

Starts the router and the model servers as processes and never imports them.
"""
