"""Results of a comparison: figures, agreement, tables and plots."""
