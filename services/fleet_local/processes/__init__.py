"""Child processes of a fleet: started, probed, restarted and ended."""
