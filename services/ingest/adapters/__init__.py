"""What ingest reads from and writes to: market files, the synthetic market, the tick store, the quarantine."""
