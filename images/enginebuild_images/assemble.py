"""An image from a base, layers and settings: the same inputs give the same manifest digest on any machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import cast

from enginebuild_cache import Json, canonical_json
from enginebuild_images.base import Base
from enginebuild_images.blob import CONFIG, MANIFEST, BytesBlob
from enginebuild_images.compressed import LayerBlob, diff_id
from enginebuild_images.errors import ImageError
from enginebuild_images.image import Image
from enginebuild_images.policy import MOST_LAYERS
from enginebuild_images.settings import ImageSettings
from enginebuild_images.tar import check_mtime

BASE_NAME = "org.opencontainers.image.base.name"
BASE_DIGEST = "org.opencontainers.image.base.digest"

#: What OCI's config has at its top; the rest of an old Docker config tells of its build and is left out.
_KEPT = ("architecture", "os", "variant", "os.version", "os.features", "author")


def assemble(base: Base, layers: Sequence[LayerBlob], settings: ImageSettings) -> Image:
    """Put layers on a base. Raises ImageError for too many layers or a time that cannot be written."""
    check_mtime(settings.created)
    count = len(base.layers) + len(layers)
    if count > MOST_LAYERS:
        raise ImageError(
            f"the image would have {count} layers, and an image cannot have more than {MOST_LAYERS}",
            "group the files into fewer layers",
        )
    config = BytesBlob(CONFIG, canonical_json(_config(base, layers, settings)))
    blobs = (*base.layers, *layers)
    manifest: dict[str, Json] = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.descriptor.to_json(),
        "layers": [blob.descriptor.to_json() for blob in blobs],
    }
    if annotations := _annotations(base, settings):
        manifest["annotations"] = annotations
    return Image(BytesBlob(MANIFEST, canonical_json(manifest)), config, blobs)


def timestamp(seconds: int) -> str:
    """Seconds since 1970 as RFC 3339."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _annotations(base: Base, settings: ImageSettings) -> dict[str, Json]:
    annotations: dict[str, Json] = {}
    if base.reference:
        annotations[BASE_NAME] = base.reference
    if base.digest is not None:
        annotations[BASE_DIGEST] = str(base.digest)
    return annotations | dict(settings.annotations)


def _config(base: Base, layers: Sequence[LayerBlob], settings: ImageSettings) -> dict[str, Json]:
    created = timestamp(settings.created)
    diff_ids: list[Json] = [*base.diff_ids, *(str(diff_id(layer)) for layer in layers)]
    history: list[Json] = [*_base_history(base), *(_history(layer, created) for layer in layers)]
    kept: dict[str, Json] = {key: base.config[key] for key in _KEPT if key in base.config}
    return kept | {
        "created": created,
        "config": _run_config(base, settings),
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": history,
    }


def _history(layer: LayerBlob, created: str) -> Json:
    return {"created": created, "created_by": f"enginebuild: {layer.layer.summary}"}


def _base_history(base: Base) -> list[Json]:
    """The base's history, completed where it tells of fewer layers than there are, so ours stay apart."""
    told = [dict(entry) for entry in base.history]
    made = sum(1 for entry in told if not entry.get("empty_layer"))
    missing = [{"created_by": "a layer of the base image"}] * (len(base.layers) - made)
    return cast("list[Json]", [*told, *missing])


def _run_config(base: Base, settings: ImageSettings) -> dict[str, Json]:
    inherited = base.config.get("config")
    config: dict[str, Json] = dict(inherited) if isinstance(inherited, dict) else {}
    _set_command(config, settings)
    if env := _environment(config.get("Env"), settings.env):
        config["Env"] = env
    if settings.labels:
        config["Labels"] = _object(config.get("Labels")) | dict(settings.labels)
    if settings.exposed_ports:
        ports: dict[str, Json] = {f"{port}/tcp": {} for port in settings.exposed_ports}
        config["ExposedPorts"] = _object(config.get("ExposedPorts")) | ports
    if settings.working_dir is not None:
        config["WorkingDir"] = settings.working_dir
    if settings.user is not None:
        config["User"] = settings.user
    if settings.healthcheck is not None:
        config["Healthcheck"] = settings.healthcheck.to_json()
    return config


def _set_command(config: dict[str, Json], settings: ImageSettings) -> None:
    if settings.entrypoint is not None:
        config.pop("Cmd", None)
        config.pop("Entrypoint", None)
        if settings.entrypoint:
            config["Entrypoint"] = list(settings.entrypoint)
    if settings.cmd is not None:
        config["Cmd"] = list(settings.cmd)


def _environment(inherited: Json, env: Mapping[str, str]) -> list[Json]:
    """The base's variables in their order, with our value where we have one, then ours by name."""
    lines = [str(line) for line in inherited] if isinstance(inherited, list) else []
    merged = {line.partition("=")[0]: line for line in lines}
    merged |= {name: f"{name}={env[name]}" for name in sorted(env)}
    return list(merged.values())


def _object(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}
