"""`modelfleet doctor`: what on this machine stands in the way of a fleet, with remedies."""
