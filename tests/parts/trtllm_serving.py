"""Images that were built, as containers: what is in them, and what their servers answer."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from parts.services import DockerEngine

_READY = 60.0  # seconds a stand-in may take to answer, on two busy cores

_ASK = """
import json, sys, urllib.request
request = urllib.request.Request(sys.argv[1], sys.argv[2].encode(), {"Content-Type": "application/json"})
print(urllib.request.urlopen(request).read().decode())
"""


class Image:
    """An image in a Docker Engine, pulled by digest."""

    def __init__(self, engine: DockerEngine, name: str) -> None:
        self.engine, self.name = engine, name
        self._trees: dict[str, dict[str, bytes]] = {}
        engine.docker("pull", "--quiet", name)
        (self.document,) = json.loads(engine.docker("image", "inspect", name))

    @property
    def labels(self) -> dict[str, str]:
        labels: dict[str, str] = self.document["Config"]["Labels"]
        return labels

    @property
    def entrypoint(self) -> list[str]:
        words: list[str] = self.document["Config"]["Entrypoint"]
        return words

    def run(self, program: str, *words: str) -> str:
        """The output of a program of the image."""
        return self.engine.docker(
            "run", "--rm", "--network=none", f"--entrypoint={program}", self.name, *words
        )

    def tree(self, folder: str) -> dict[str, bytes]:
        """Path → content of every file below a folder of the image."""
        if folder not in self._trees:
            container = self.engine.docker("create", "--network=none", self.name).strip()
            try:
                with tempfile.TemporaryDirectory() as place:
                    self.engine.docker("cp", f"{container}:{folder}", f"{place}/copy")
                    copied = Path(place, "copy")
                    files = [path for path in copied.rglob("*") if path.is_file()]
                    self._trees[folder] = {str(path.relative_to(copied)): path.read_bytes() for path in files}
            finally:
                self.engine.docker("rm", container)
        return self._trees[folder]

    def files(self, folder: str) -> list[str]:
        """The paths below a folder of the image."""
        return sorted(self.tree(folder))

    def read(self, path: str) -> str:
        """A file of one of the image's first folders."""
        _, folder, rest = path.split("/", 2)
        return self.tree(f"/{folder}")[rest].decode()

    def document_at(self, path: str) -> Any:
        return json.loads(self.read(path))

    @contextmanager
    def serving(self, *options: str) -> Iterator[Container]:
        """The image as it is meant to run, alone on its own loopback, once its health check is content."""
        run = ("run", "--detach", "--network=none", *options, self.name)
        container = self.engine.docker(*run).strip()
        try:
            self._await(container)
            yield Container(self.engine, container)
        finally:
            self.engine.docker("rm", "--force", container)

    def _await(self, container: str) -> None:
        kind, *check = self.document["Config"]["Healthcheck"]["Test"]
        assert kind == "CMD"
        deadline = time.monotonic() + _READY
        while not self._healthy(container, check):
            state = json.loads(self.engine.docker("inspect", container))[0]["State"]
            logs = self.engine.docker("logs", container)
            assert state["Running"], f"it ended with {state['ExitCode']}: {logs}"
            assert time.monotonic() < deadline, f"it does not answer: {logs}"
            time.sleep(0.2)

    def _healthy(self, container: str, check: list[str]) -> bool:
        script = '"$@" >/dev/null 2>&1 && echo healthy'
        said = self.engine.docker("exec", container, "sh", "-c", script, "sh", *check, check=False)
        return said.strip() == "healthy"


class Container:
    """A server that is up."""

    def __init__(self, engine: DockerEngine, name: str) -> None:
        self.engine, self.name = engine, name

    def ask(self, path: str, document: dict[str, Any]) -> Any:
        """What it answers to a JSON document at port 8000 of its loopback."""
        url = f"http://127.0.0.1:8000{path}"
        words = ("exec", self.name, "python3", "-c", _ASK, url, json.dumps(document))
        return json.loads(self.engine.docker(*words))

    def completion(self, prompt: str) -> str:
        """The text that follows a prompt, by the OpenAI-compatible route."""
        answer = self.ask("/v1/completions", {"model": "m", "prompt": prompt, "max_tokens": 8})
        return str(answer["choices"][0]["text"])
