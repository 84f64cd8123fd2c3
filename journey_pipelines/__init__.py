"""Customer journeys as code: YAML compiled to set-based SQL, run in micro-batches, every send happening once."""
