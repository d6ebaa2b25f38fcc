"""What engines can do, and which specs none of their builds serves."""
