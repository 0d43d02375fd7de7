"""From usage events to statements: what the ledger holds, proves and prices."""
