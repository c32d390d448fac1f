"""How long steps took before: the times of a cache's records, with what is known of their work."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from enginebuild.steps.fetch import FETCHED
from enginebuild.why import Since
from enginebuild_cache import Json, Record, Store, Tree

#: Below it a fetch tells how long a request takes, and nothing of a line.
_FEWEST = 1 << 20
_FETCHES = ("fetch", "calibration", "timing_cache")


@dataclass(frozen=True, slots=True)
class Time:
    """How long a step took once. `method`: see `Work`. `size` in bytes and `tokens` None: not known."""

    since: Since
    seconds: float
    method: str
    size: int | None = None
    tokens: int | None = None


@dataclass
class Past:
    """The times of a cache's records; each step's are read once."""

    store: Store
    _times: dict[str, tuple[Time, ...]] = field(default_factory=dict)
    _models: _Models | None = None

    def times(self, step: str) -> tuple[Time, ...]:
        """Of a step, or of another that moves files as it does; the one used last before the others."""
        if step not in self._times:
            steps = _FETCHES if step in _FETCHES else (step,)
            records = (record for name in steps for record in self.store.records_of(name))
            self._times[step] = tuple(time for record in records if (time := self._time(record)) is not None)
        return self._times[step]

    def _time(self, record: Record) -> Time | None:
        seconds = record.provenance.get("seconds")
        if not isinstance(seconds, int | float) or isinstance(seconds, bool):
            return None
        if record.step in _FETCHES:
            return _moved(record, float(seconds))
        if self._models is None:
            self._models = _Models.of(self.store)
        size, tokens = self._models.size_of(record), _tokens(_fields(record))
        return Time(Since.of(record), float(seconds), method_of(record.step, _fields(record)), size, tokens)


@dataclass(frozen=True, slots=True)
class _Models:
    """Bytes of the weights of models, by the digest of their files and by the recipe that fetched them."""

    by_tree: Mapping[str, int]
    by_subject: Mapping[str, int]

    @classmethod
    def of(cls, store: Store) -> _Models:
        by_tree, by_subject = dict[str, int](), dict[str, int]()
        for record in store.records_of("fetch"):
            size = weights_of(record.tree)
            by_tree[str(record.tree.digest)] = size
            by_subject.setdefault(str(record.provenance.get("subject")), size)
        return cls(by_tree, by_subject)

    def size_of(self, record: Record) -> int | None:
        inputs = record.fields.get("inputs")
        fetched = inputs.get("fetch") if isinstance(inputs, dict) else None
        if fetched is not None:
            return self.by_tree.get(str(fetched))
        return self.by_subject.get(str(record.provenance.get("subject")))


def weights_of(tree: Tree) -> int:
    """Bytes of a model's weights; of a tree without safetensors, of all its files."""
    return sum(file.size for file in tree if file.path.endswith(".safetensors")) or tree.size


def method_of(step: str, fields: Mapping[str, Json]) -> str:
    """What two steps of a name must agree in for one's time to say something of the other's."""
    if step in _FETCHES:
        return "download" if "source" in fields else "copy"
    if step == "warm":
        hardware = fields.get("hardware")
        return str(hardware.get("kind")) if isinstance(hardware, dict) else ""
    if step == "verify":
        return "gpu" if fields.get("gpus") else "cpu"
    return _quantization(fields) if step == "quantize" else ""


def _quantization(fields: Mapping[str, Json]) -> str:
    """The tool and its word for the method."""
    request, command = fields.get("request"), fields.get("command")
    if isinstance(request, dict):
        return f"{fields.get('tool')} {request.get('method')}"
    words = [str(word) for word in command] if isinstance(command, list) else []
    formats = (word for at, word in enumerate(words) if at and words[at - 1] == "--qformat")
    joined = (word.partition("=")[2] for word in words if word.startswith("--qformat="))
    return f"quantize.py {next(formats, next(joined, ''))}"


def _tokens(fields: Mapping[str, Json]) -> int | None:
    """That a quantization was calibrated with at most; 0 without texts, None where it is not written."""
    request = fields.get("request")
    if not isinstance(request, dict):
        return None
    asked = request.get("calibration")
    if not isinstance(asked, dict):
        return 0
    samples, length = asked.get("num_samples"), asked.get("max_seq_length")
    return samples * length if isinstance(samples, int) and isinstance(length, int) else None


def _moved(record: Record, seconds: float) -> Time | None:
    """A fetch that found nearly everything here says nothing of the next one."""
    size = record.provenance.get(FETCHED)
    if not isinstance(size, int) or size < _FEWEST:
        return None
    return Time(Since.of(record), seconds, method_of(record.step, _fields(record)), size)


def _fields(record: Record) -> Mapping[str, Json]:
    fields = record.fields.get("fields")
    return fields if isinstance(fields, dict) else {}
