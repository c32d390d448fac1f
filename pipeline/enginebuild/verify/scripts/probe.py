"""Ask the server in this container. `probe.py wait|ask|look FILE`: FILE says what, the answers go to stdout.

It runs beside the server because a container without a network has no port that anybody else could reach.
Each line of stdout is one JSON object. Python 3.8 and its standard library.
"""

from __future__ import annotations

import http.client
import json
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

#: Seconds for an answer that needs no engine.
_SHORT = 10.0
_PAUSE = 0.5
#: Where Linux says how much memory a container had at most: cgroup 2 (Linux 5.19 and newer), cgroup 1.
_PEAKS = ("/sys/fs/cgroup/memory.peak", "/sys/fs/cgroup/memory/memory.max_usage_in_bytes")


class _Server:
    """A server at a port of this container's loopback. No proxy of the environment is asked."""

    def __init__(self, port: int) -> None:
        self._port = port

    def get(self, path: str) -> dict[str, Any]:
        return self._asked("GET", path, None, _SHORT)

    def post(self, path: str, body: Any, timeout: float) -> dict[str, Any]:
        return self._asked("POST", path, body, timeout)

    def _asked(self, method: str, path: str, body: Any, timeout: float) -> dict[str, Any]:
        begun = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=max(timeout, 0.1))
        try:
            content = None if body is None else json.dumps(body).encode()
            connection.request(method, path, content, {"Content-Type": "application/json"})
            response = connection.getresponse()
            found: dict[str, Any] = {"status": response.status}
            if "text/event-stream" in response.headers.get("Content-Type", ""):
                found.update(_events(response))
            else:
                found.update(_document(response.read()))
        except ConnectionRefusedError:
            found = {"refused": True, "error": "nothing listens at the server's port"}
        except TimeoutError:
            found = {"error": "the request was not answered in time"}
        except (OSError, http.client.HTTPException) as error:
            found = {"error": f"the connection broke: {str(error) or type(error).__name__}"}
        finally:
            connection.close()
        found["seconds"] = round(time.monotonic() - begun, 4)
        return found


def _document(content: bytes) -> dict[str, Any]:
    try:
        return {"body": json.loads(content)}
    except ValueError:
        return {"text": content[:2000].decode("utf-8", "replace")}


def _events(response: http.client.HTTPResponse) -> dict[str, Any]:
    """What a stream says, event by event, until [DONE]."""
    events: list[Any] = []
    for line in response:
        if not line.startswith(b"data:"):
            continue
        said = line[len(b"data:") :].strip()
        if said == b"[DONE]":
            return {"events": events, "done": True}
        try:
            events.append(json.loads(said))
        except ValueError:
            return {
                "events": events,
                "error": f"an event is not JSON: {said[:200]!r}",
            }
    return {"events": events, "done": False}


def wait(server: _Server, plan: Any) -> None:
    """Until the first completion, or until it is clear that there will be none.

    A server that takes no such request says so with 4xx at once, a dead engine with 5xx for as long as one
    asks, while /health says 200.
    """
    end = time.monotonic() + plan["seconds"]
    broken: float | None = None
    while True:
        served = _served(server)
        model = str(served.get("id", ""))
        body = {**plan["body"], **({"model": model} if model else {})}
        found = server.post(plan["path"], body, max(end - time.monotonic(), 1.0))
        health = server.get(plan["health"]).get("status")
        # Without its model's name a request may be refused by a server that has just come up.
        if found.get("status") == 200 or (model and _is_refusal(found.get("status"))):
            break
        if found.get("refused"):
            broken = None
        elif broken is None:
            broken = time.monotonic()
        now = time.monotonic()
        if now > end or (health == 200 and broken is not None and now - broken > plan["patience"]):
            break
        time.sleep(_PAUSE)
    length = served.get("max_model_len")
    _say({**found, "model": model, "max_model_len": length, "health": health, "late": time.monotonic() > end})


def _is_refusal(status: Any) -> bool:
    return isinstance(status, int) and 400 <= status < 500 and status not in (404, 408, 425, 429)


def _served(server: _Server) -> dict[str, Any]:
    """What the server says of its model; nothing if it does not yet."""
    body: Any = server.get("/v1/models").get("body")
    try:
        found: dict[str, Any] = {"id": body["data"][0]["id"], **body["data"][0]}
    except (KeyError, IndexError, TypeError):
        return {}
    return found


def ask(server: _Server, plan: Any) -> None:
    """Every request, one after another unless so many are wanted at the same time; answers in their order."""

    def asked(request: dict[str, Any]) -> dict[str, Any]:
        return server.post(request["path"], request["body"], plan["seconds"])

    with ThreadPoolExecutor(plan.get("concurrent", 1)) as pool:
        for found in pool.map(asked, plan["requests"]):
            _say(found)


def look(_server: _Server, plan: Any) -> None:
    """What the container's files say: whether there is a chat template, which options are configured."""
    folders = [Path(folder) for folder in plan["folders"]]
    keys: dict[str, str] = {}
    for path in map(Path, plan["configurations"]):
        if path.is_file():
            found = re.findall(r"^([A-Za-z_-]+): *(.*)$", path.read_text("utf-8", "replace"), re.MULTILINE)
            keys.update({key.replace("-", "_"): text for key, text in found})
    _say(
        {
            "chat_template": "chat_template" in keys or any(_has_template(folder) for folder in folders),
            "keys": sorted(keys),
            "tokenizer": next((str(each) for each in folders if (each / "tokenizer.json").is_file()), None),
            "memory_peak": _memory_peak(),
        }
    )


def _has_template(folder: Path) -> bool:
    if any((folder / name).is_file() for name in ("chat_template.jinja", "chat_template.json")):
        return True
    try:
        return bool(json.loads((folder / "tokenizer_config.json").read_text("utf-8")).get("chat_template"))
    except (OSError, ValueError, AttributeError):
        return False


def _memory_peak() -> Any:
    for path in _PEAKS:
        try:
            return int(Path(path).read_text())
        except (OSError, ValueError):
            continue
    return None


def _say(document: dict[str, Any]) -> None:
    print(json.dumps(document), flush=True)  # noqa: T201 - it is what this program is for


def main() -> None:
    what, path = sys.argv[1:]
    plan = json.loads(Path(path).read_text("utf-8"))
    {"wait": wait, "ask": ask, "look": look}[what](_Server(plan["port"]), plan)


if __name__ == "__main__":
    main()
