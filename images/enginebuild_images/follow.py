"""A layer's digest from the one pass in which its file enters the cache: no second reading, ever."""

from __future__ import annotations

import hashlib

from enginebuild_cache import Digest, File
from enginebuild_images.blob import LAYER, Descriptor
from enginebuild_images.layer import Layer


class LayerFollower:
    """Follows the bytes of a layer's only file (as the cache's `Follower`), the archive around them."""

    def __init__(self, layer: Layer) -> None:
        """Raises ValueError for a layer of more than one file."""
        parts = list(layer.parts())
        files = [place for place, part in enumerate(parts) if isinstance(part, File)]
        if len(files) != 1:
            raise ValueError(f"a layer of {len(files)} files has no one file to follow")
        self.layer = layer
        self._before = b"".join(part for part in parts[: files[0]] if isinstance(part, bytes))
        self._after = b"".join(part for part in parts[files[0] + 1 :] if isinstance(part, bytes))
        self.restart()

    def restart(self) -> None:
        self._running = hashlib.sha256(self._before)
        self._seen = 0

    def update(self, chunk: bytes) -> None:
        self._running.update(chunk)
        self._seen += len(chunk)

    @property
    def descriptor(self) -> Descriptor | None:
        """What the layer is, once all bytes of its file have passed; None before."""
        if self._seen != self.layer.entries[0].file.size:
            return None
        whole = self._running.copy()
        whole.update(self._after)
        return Descriptor(LAYER, Digest(whole.hexdigest()), self.layer.size)
