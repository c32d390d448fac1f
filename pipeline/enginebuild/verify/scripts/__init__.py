"""Programs that run inside the container of a server that is verified: the standard library alone.

They are copied into the container, never installed, and import nothing of enginebuild.
"""
