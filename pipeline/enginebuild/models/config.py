"""Reading a config.json: numbers by any of their names, with the defaults of the family."""

from __future__ import annotations

from collections.abc import Mapping

from enginebuild_cache import Json

#: The section that holds the language model of a model of several modalities.
_INNER = ("text_config", "language_config", "llm_config")


class Config:
    """A config.json, the language model's section first. What is missing is asked of `defaults`."""

    def __init__(self, values: Mapping[str, Json], defaults: Mapping[str, Json] | None = None) -> None:
        self.outer = values
        self.inner = _inner(values)
        self.defaults: Mapping[str, Json] = defaults or {}

    @property
    def model_type(self) -> str:
        """Of the language model; empty where none is said."""
        found = self.inner.get("model_type") or self.outer.get("model_type")
        return found if isinstance(found, str) else ""

    @property
    def architecture(self) -> str:
        """The first class that config.json names, or its model_type."""
        named = self.outer.get("architectures") or self.inner.get("architectures")
        if isinstance(named, list) and named and isinstance(named[0], str):
            return named[0]
        return self.model_type

    def get(self, name: str) -> Json:
        for section in (self.inner, self.outer, self.defaults):
            if section.get(name) is not None:
                return section[name]
        return None

    def number(self, *names: str) -> int | None:
        """The first of these that is a whole number."""
        for name in names:
            value = self.get(name)
            if isinstance(value, int) and not isinstance(value, bool):
                return value
        return None

    def count(self, *names: str) -> int:
        """A number, 0 for none."""
        return self.number(*names) or 0

    def switch(self, name: str) -> bool:
        return self.get(name) is True

    def text(self, *names: str) -> str | None:
        return next((value for name in names if isinstance(value := self.get(name), str)), None)

    def section(self, name: str) -> Mapping[str, Json]:
        value = self.get(name)
        return value if isinstance(value, dict) else {}

    def numbers(self, name: str) -> tuple[int, ...]:
        value = self.get(name)
        items = value if isinstance(value, list) else []
        return tuple(item for item in items if isinstance(item, int) and not isinstance(item, bool))

    def texts(self, name: str) -> tuple[str, ...]:
        value = self.get(name)
        return tuple(item for item in value if isinstance(item, str)) if isinstance(value, list) else ()

    def with_defaults(self, defaults: Mapping[str, Json]) -> Config:
        return Config(self.outer, defaults)


def _inner(values: Mapping[str, Json]) -> Mapping[str, Json]:
    for name in _INNER:
        section = values.get(name)
        if isinstance(section, dict):
            return section
    return values
