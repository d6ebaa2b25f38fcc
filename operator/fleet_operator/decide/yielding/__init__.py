"""Which idle models stop for one that fits nowhere."""
