"""Where models come from: the Hugging Face Hub and folders on disk."""

from enginebuild.sources.model import ModelRequest, ResolvedModel
from enginebuild.sources.resolve import MODEL, fetch, read_config, read_folder_config, resolve

__all__ = ["MODEL", "ModelRequest", "ResolvedModel", "fetch", "read_config", "read_folder_config", "resolve"]
