"""The bus: one protocol, two implementations (NATS and memory), and what streams there are."""
