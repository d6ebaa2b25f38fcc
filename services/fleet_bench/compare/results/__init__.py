"""Results of a comparison: figures, agreement of outputs, tables and plots."""
