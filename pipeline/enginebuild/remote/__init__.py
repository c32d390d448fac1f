"""The remote cache: records and their files as OCI artifacts, in a registry or in an OCI layout.

The format is in docs/cache-format.md. A remote cache is believed in nothing that can be checked, and is never
needed: what is absent, damaged or out of reach there is a miss and a warning.
"""
