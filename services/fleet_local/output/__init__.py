"""What local mode prints and logs."""
