"""Which engine is worth it at a volume: GPU-hours, cost, break-even, and what each engine loses."""
