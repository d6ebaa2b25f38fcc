"""The two servers of a comparison and the machine they run on."""
