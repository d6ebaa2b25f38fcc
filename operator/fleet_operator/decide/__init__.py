"""Pure decisions: what a reconcile applies, and the status it reports."""
