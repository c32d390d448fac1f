"""Programs that run inside a quantizer's environment. They are started as files, never imported by us."""
