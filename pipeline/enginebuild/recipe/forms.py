"""The forms of single texts: names, sources, references, tags. Each check returns None, or what is wrong."""

from __future__ import annotations

import re

from enginebuild.recipe.kinds import Complaint
from enginebuild.recipe.show import TOKEN, bare, quoted

NAME = r"[a-z0-9][a-z0-9._-]{0,127}"
_NAME = re.compile(NAME + r"\Z")
#: 0.33.0, 1.3.0rc22, 0.17.0.post1
VERSION = r"[0-9]+\.[0-9]+\.[0-9]+(?:(?:a|b|rc)[0-9]+)?(?:\.post[0-9]+)?"
_VERSION = re.compile(VERSION + r"\Z")
VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"
_VARIABLE = re.compile(VARIABLE + r"\Z")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/+-]{0,254}\Z")
#: huggingface_hub 2.4, validate_repo_id: 96 characters at most, no -- or .., no - or . at an end, not *.git
_REPOSITORY_ID = re.compile(
    r"[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?/[A-Za-z0-9_](?:[\w.-]*[A-Za-z0-9_])?\Z", re.ASCII
)
#: Its rows have `messages`, and no loading script is needed to read them.
DATASET_EXAMPLE = "hf://datasets/neuralmagic/LLM_compression_calibration"
#: `inspect` reads these, so nobody else writes them.
OWN_LABELS = "enginebuild."
LABEL_KEY = r"[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?"
_LABEL_KEY = re.compile(LABEL_KEY + r"\Z")

_HAS_TOKEN = Complaint(
    "holds an access token; a recipe never does",
    "write the name of the environment variable that holds it, such as HF_TOKEN, and revoke this token",
)
HOME = Complaint("is used as written, '~' is not your home folder", "write the whole path, or a relative one")


def anchored(pattern: str) -> str:
    """A pattern of a whole text, for JSON Schema."""
    return f"^(?:{pattern})$"


def any_text(_text: str) -> Complaint | None:
    return None


def name(text: str) -> Complaint | None:
    if _NAME.match(text):
        return None
    message = f"must be lower-case letters, digits, '.', '_' and '-', 128 at most, not {quoted(text)}"
    if len(text) > 128:
        return Complaint(message, "shorten it")
    better = re.sub(r"[^a-z0-9._-]+", "-", text.lower()).strip("-._")[:128]
    return Complaint(message, f"write {bare(better)}" if better else "write for example llama-3.1-8b")


def engine_version(text: str) -> Complaint | None:
    if _VERSION.match(text):
        return None
    plain = re.sub(r"[-._]?(a|b|rc)[-._]?(?=[0-9])", r"\1", text.strip().removeprefix("v"))
    plain = re.sub(r"[-._]?post[-._]?(?=[0-9])", ".post", plain)
    hint = f"write {plain}" if _VERSION.match(plain) else 'give all three parts, such as "0.33.0"'
    return Complaint(f"must be a version with three parts, not {quoted(text)}", hint)


def variable(text: str) -> Complaint | None:
    if TOKEN.search(text):
        return _HAS_TOKEN
    if _VARIABLE.match(text):
        return None
    hint = (
        f"write {text[1:].strip('{}')} without the $"
        if text.startswith("$")
        else "write for example HF_TOKEN"
    )
    return Complaint(f"must be the name of an environment variable, not {quoted(text)}", hint)


def revision(text: str) -> Complaint | None:
    if _REVISION.match(text) and ".." not in text and "//" not in text and not text.endswith(("/", ".lock")):
        return None
    message = f"must be a branch, a tag or a commit, not {quoted(text)}"
    return Complaint(message, "write for example main, or the 40 digits of a commit")


def pattern(text: str) -> Complaint | None:
    """A glob on paths within the model's folder."""
    if not text.strip() or "\\" in text or text.startswith("/") or ".." in text.split("/"):
        message = f"must be a pattern of paths within the model's folder, not {quoted(text)}"
        return Complaint(message, 'write for example "*.safetensors"')
    return None


def model_source(text: str) -> Complaint | None:
    """`hf://org/name[@revision]` or `file:folder`."""
    if TOKEN.search(text):
        return Complaint(_HAS_TOKEN.message, "set HF_TOKEN in the environment instead, and revoke this token")
    if text.startswith("file:"):
        return _folder(text)
    if text.startswith("hf:"):
        return _hub(text)
    return _no_source(text)


def dataset(text: str) -> Complaint | None:
    """`hf://datasets/org/name[@revision]` or `file:folder`."""
    if TOKEN.search(text):
        return Complaint(_HAS_TOKEN.message, "set HF_TOKEN in the environment instead, and revoke this token")
    if text.startswith("file:"):
        return _folder(text, "file:./texts")
    message = f"must be hf://datasets/org/name or file:./folder, not {quoted(text)}"
    page = re.match(r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/datasets/([\w.-]+/[\w.-]+)", text)
    if page:
        return Complaint(message, f"write hf://datasets/{bare(page[1])}")
    repository = text.removeprefix("hf:").removeprefix("//").removeprefix("datasets/")
    if text.startswith(("hf:datasets/", "hf://datasets/")):
        return _hub_dataset(text, repository)
    if text.startswith((".", "/", "~")):
        return Complaint(message, f"for a folder, write file:{bare(text)}")
    if _hub(f"hf://{repository}") is None:
        return Complaint(message, f"write hf://datasets/{bare(repository)}")
    return Complaint(message, f"write for example {DATASET_EXAMPLE}")


def _hub_dataset(text: str, repository: str) -> Complaint | None:
    complaint = _hub(f"hf://{repository}")
    if complaint is None:
        return None
    if complaint.message.startswith("has no revision"):
        return Complaint(f"has no revision after '@': {quoted(text)}", complaint.hint)
    hint = complaint.hint
    if "/" not in repository.strip("/"):
        hint = f"both parts are needed, such as {DATASET_EXAMPLE}"
    return Complaint(f"must name a data set as hf://datasets/org/name, not {quoted(text)}", hint)


def module(text: str) -> Complaint | None:
    """A module's name in the model, or a pattern of such names."""
    if re.fullmatch(r"[!-~]+", text) and not text.startswith("-"):
        return None
    return Complaint(
        f"must be the name of a module or a pattern, not {quoted(text)}", "write for example lm_head"
    )


def environment(text: str) -> Complaint | None:
    """A folder of this machine."""
    if text.startswith("~"):
        return HOME
    if text.startswith("file:"):
        return Complaint(f"must be a folder, not {quoted(text)}", f"write {bare(text.removeprefix('file:'))}")
    if text.startswith("-") or not text.strip() or "\0" in text:
        return Complaint(f"must be a folder, not {quoted(text)}", "write for example /opt/trtllm")
    return None


def timing_cache(text: str) -> Complaint | None:
    """`file:path` of a file."""
    example = "write for example file:./model.cache"
    if not text.startswith("file:"):
        written = bare(text)
        if text.startswith((".", "/")):
            example = f"write file:{written}"
        elif text.endswith(".cache"):
            example = f"write file:./{written}"
        return Complaint(f"must be file:./path, not {quoted(text)}", example)
    complaint = _folder(text)
    if complaint is HOME or (complaint is None and not text.endswith("/")):
        return complaint
    return Complaint(f"must name a file after file:, not {quoted(text)}", example)


def _folder(text: str, example: str = "file:./my-model") -> Complaint | None:
    folder = text.removeprefix("file:")
    if folder.startswith("//") and not folder.startswith("///"):
        better = folder.lstrip("/")
        better = better if better.startswith(".") else f"./{better}"
        return Complaint(f"has no folder, {quoted(text)} names a host", f"write file:{bare(better)}")
    if folder.startswith("~"):
        return HOME
    if not folder.strip() or "\0" in folder:
        return Complaint(
            f"must name a folder after file:, not {quoted(text)}", f"write for example {example}"
        )
    return None


def _hub(text: str) -> Complaint | None:
    repository, at, wanted = text.removeprefix("hf:").removeprefix("//").partition("@")
    if at and (complaint := revision(wanted)):
        return Complaint(f"has no revision after '@': {quoted(text)}", complaint.hint)
    valid = _REPOSITORY_ID.match(repository) and len(repository) <= 96
    if valid and not any(bad in repository for bad in ("--", "..")) and not repository.endswith(".git"):
        return None
    message = f"must name a model as hf://org/name, not {quoted(text)}"
    if ":" in repository:
        return Complaint(message, "a revision follows '@', not ':'")
    if "/" not in repository.strip("/"):
        return Complaint(message, "both parts are needed, such as hf://openai-community/gpt2")
    return Complaint(message, "copy the name from the top of the model's page")


def _no_source(text: str) -> Complaint:
    message = f"must be hf://org/name or file:./folder, not {quoted(text)}"
    page = re.match(
        r"https?://(?:www\.)?(?:huggingface\.co|hf\.co)/([\w.-]+/[\w.-]+)(?:/tree/([^/?#]+))?", text
    )
    if page:
        at = f"@{page[2]}" if page[2] else ""
        return Complaint(message, f"write hf://{bare(page[1] + at)}")
    scheme = re.match(r"([a-z][a-z0-9+.-]*)://", text)
    if scheme:
        fetch_first = (
            f"{scheme[1]}:// is no source of this version: fetch the folder first and write file:./folder"
        )
        return Complaint(message, fetch_first)
    if text.startswith((".", "/", "~")):
        return Complaint(message, f"for a folder, write file:{bare(text)}")
    if _hub(f"hf://{text}") is None:
        return Complaint(message, f"write hf://{bare(text)}")
    return Complaint(message, "write for example hf://meta-llama/Llama-3.1-8B-Instruct@main")


def label_key(text: str) -> Complaint | None:
    if text.startswith(OWN_LABELS):
        return Complaint("is set by enginebuild itself", "write for example com.example.team")
    if _LABEL_KEY.match(text):
        return None
    message = "must be letters, digits, '.', '_', '/' and '-'"
    return Complaint(message, "write for example org.opencontainers.image.vendor")
