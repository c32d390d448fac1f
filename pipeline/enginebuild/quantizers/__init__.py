"""Quantizers: what they make of a method, what they are asked, and whether it took effect.

Their libraries run in environments of their own and are never imported.
"""
