"""`modelfleet doctor`: checks whether this machine can run a fleet, with remedies."""
