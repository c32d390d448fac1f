"""What an image is good for once it is delivered: the next command of whoever built it."""

from __future__ import annotations

import json

from enginebuild.events import Note
from enginebuild_images.errors import ImageError
from enginebuild_images.image import Image
from enginebuild_images.manifest import MODEL_CONFIG


def use_of(image: Image, name: str) -> str:
    """One line for people. `name` is the image as its place calls it."""
    if is_modelpack(image):
        return f"use it:  {name} is for clients of ModelPack, such as modctl; see docs/model-images.md"
    if not _runs(image):
        return (
            f"mount it:  {name} as a volume in Kubernetes; see docs/model-images.md\n"
            f"take it out:  docker cp $(docker create {name} -):/model ."
        )
    return f"run it:  docker run --rm -p 8000:8000 --ipc=host [--gpus all] {name}"


def not_attached(place: str, error: ImageError) -> Note:
    """The image is published all the same: not every registry takes artifacts."""
    return Note(f"the result of its verification is not attached at {place}: {error.message}", "warning")


def is_modelpack(image: Image) -> bool:
    """An artifact, which Docker neither loads nor pulls."""
    return image.config.descriptor.media_type == MODEL_CONFIG


def _runs(image: Image) -> bool:
    config = json.loads(b"".join(image.config.chunks())).get("config") or {}
    return bool(config.get("Entrypoint") or config.get("Cmd"))
