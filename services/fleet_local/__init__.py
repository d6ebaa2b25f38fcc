"""Local mode: one command that runs a fleet as supervised processes on this machine.

The router and the model servers run as child processes and are never imported.
"""
