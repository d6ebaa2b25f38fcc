"""Terminal output and log files of local mode."""
