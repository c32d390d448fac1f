"""Programs that run inside builder and server images: the standard library alone, Python 3.8 and newer.

They are copied beside what they import (`programs.py` says which files those are), never installed.
"""
