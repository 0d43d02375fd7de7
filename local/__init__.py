"""One machine in place of Azure; never deployed."""
