"""`enginebuild` and `python -m enginebuild`."""

from __future__ import annotations

from enginebuild.cli import main

if __name__ == "__main__":
    main()
