"""Credentials: which file and entry wins, credential programs (real ones), broken files, secrets."""

from __future__ import annotations

import base64
import json
import pickle
from pathlib import Path

import pytest

from enginebuild_images.credentials import Anonymous, Credential, DockerCredentials, Found, Secret
from enginebuild_images.errors import RegistryError

HOST = "registry.example.com:5000"


def entry(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def write(path: Path, document: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def shown(found: Found) -> tuple[str, str, str] | None:
    credential = found.credential
    if credential is None:
        return None
    return credential.user, credential.secret.reveal(), credential.source


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "docker" / "config.json"


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    return folder


def program(folder: Path, name: str, script: str) -> None:
    path = folder / f"docker-credential-{name}"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


@pytest.mark.parametrize(
    ("auths", "registry", "repository", "user"),
    [
        ({HOST: entry("plain", "p")}, HOST, "", "plain"),
        ({f"https://{HOST}": entry("url", "p")}, HOST, "", "url"),
        ({f"http://{HOST}/v1/": entry("v1", "p")}, HOST, "", "v1"),
        ({"https://index.docker.io/v1/": entry("hub", "p")}, "docker.io", "library/busybox", "hub"),
        ({"docker.io": entry("short", "p")}, "docker.io", "vllm/vllm-openai", "short"),
        ({"registry-1.docker.io": entry("api", "p")}, "docker.io", "", "api"),
        ({HOST: entry("all", "p"), f"{HOST}/team": entry("team", "p")}, HOST, "team/app", "team"),
        ({HOST: entry("all", "p"), f"{HOST}/team": entry("team", "p")}, HOST, "teams/app", "all"),
        ({f"{HOST}/team/app": entry("one", "p"), f"{HOST}/team": entry("t", "p")}, HOST, "team/app", "one"),
        ({HOST: {"username": "spelled", "password": "p"}}, HOST, "", "spelled"),
        ({HOST: {"auth": entry("both", "p")["auth"], "identitytoken": "p"}}, HOST, "", "<token>"),
    ],
)
def test_an_entry_is_found(
    config: Path, auths: dict[str, object], registry: str, repository: str, user: str
) -> None:
    write(config, {"auths": auths})
    found = DockerCredentials((config,)).find(registry, repository)
    assert shown(found) == (user, "p", str(config))


def test_a_password_may_have_colons_and_other_letters(config: Path) -> None:
    write(config, {"auths": {HOST: entry("bücher", "a:b:ç")}})
    assert shown(DockerCredentials((config,)).find(HOST)) == ("bücher", "a:b:ç", str(config))


def test_another_port_is_another_registry(config: Path) -> None:
    write(config, {"auths": {"registry.example.com": entry("a", "p")}})
    assert DockerCredentials((config,)).find(HOST) == Found(None, (str(config),))


def test_the_first_file_with_an_answer_wins(tmp_path: Path) -> None:
    one = write(tmp_path / "one.json", {"auths": {"other.example.com": entry("other", "p")}})
    two = write(tmp_path / "two.json", {"auths": {HOST: entry("two", "p")}})
    three = write(tmp_path / "three.json", {"auths": {HOST: entry("three", "p")}})
    found = DockerCredentials((tmp_path / "none.json", one, two, three)).find(HOST)
    assert shown(found) == ("two", "p", str(two))
    assert found.looked == (f"{tmp_path}/none.json (no such file)", str(one))


@pytest.mark.parametrize(
    ("environment", "files"),
    [
        ({"HOME": "/h"}, ["/h/.docker/config.json"]),
        ({"HOME": "/h", "DOCKER_CONFIG": "/d"}, ["/d/config.json"]),
        (
            {"HOME": "/h", "REGISTRY_AUTH_FILE": "/r.json", "XDG_RUNTIME_DIR": "/x"},
            ["/h/.docker/config.json", "/r.json", "/x/containers/auth.json"],
        ),
    ],
)
def test_the_environment_names_the_files(environment: dict[str, str], files: list[str]) -> None:
    assert DockerCredentials.from_environment(environment).files == tuple(map(Path, files))


def test_a_program_named_for_the_host_goes_before_the_store_and_the_entry(
    config: Path, programs: Path
) -> None:
    program(programs, "mine", 'read host; echo "{\\"Username\\": \\"asked-$host\\", \\"Secret\\": \\"s\\"}"')
    program(programs, "store", 'echo "{\\"Username\\": \\"store\\", \\"Secret\\": \\"s\\"}"')
    write(config, {"credHelpers": {HOST: "mine"}, "credsStore": "store", "auths": {HOST: entry("file", "p")}})
    credentials = DockerCredentials((config,))
    assert shown(credentials.find(HOST)) == (f"asked-{HOST}", "s", "docker-credential-mine")
    assert shown(credentials.find("other.example.com")) == ("store", "s", "docker-credential-store")


def test_a_program_is_asked_for_docker_hub_by_its_old_name(config: Path, programs: Path) -> None:
    program(programs, "store", 'read host; echo "{\\"Username\\": \\"$host\\", \\"Secret\\": \\"s\\"}"')
    write(config, {"credsStore": "store"})
    found = DockerCredentials((config,)).find("docker.io", "library/busybox")
    assert shown(found) == ("https://index.docker.io/v1/", "s", "docker-credential-store")


def test_a_program_may_give_an_identity_token(config: Path, programs: Path) -> None:
    program(programs, "store", 'echo "{\\"Username\\": \\"<token>\\", \\"Secret\\": \\"s\\"}"')
    write(config, {"credsStore": "store"})
    credential = DockerCredentials((config,)).find(HOST).credential
    assert credential is not None
    assert credential.is_identity_token
    assert str(credential) == "an identity token (docker-credential-store)"


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("echo 'credentials not found in native keychain'; exit 1", "has none for it"),
        ("echo 'the keychain\nis locked' >&2; exit 3", "exit code 3: the keychain"),
        ("exit 4", "exit code 4"),
        ("echo nonsense", "its answer is not JSON with Username and Secret"),
        ("echo '[]'", "its answer is not JSON with Username and Secret"),
        ('echo "{\\"Username\\": \\"u\\", \\"Secret\\": \\"\\"}"', "has none for it"),
        ("exec sleep 60", "no answer within 0.5 s"),
    ],
)
def test_a_program_that_has_nothing_leaves_a_note_and_the_entry_counts(
    config: Path, programs: Path, script: str, complaint: str
) -> None:
    program(programs, "sad", script)
    write(config, {"credsStore": "sad", "auths": {HOST: entry("file", "p")}})
    found = DockerCredentials((config,), timeout=0.5).find(HOST)
    assert shown(found) == ("file", "p", str(config))
    assert found.looked == (f"docker-credential-sad, named in {config} ({complaint})",)


def test_a_program_that_is_missing_or_no_program_leaves_a_note(config: Path, programs: Path) -> None:
    write(config, {"credHelpers": {HOST: "desktop", "b.example.com": "../evil", "c.example.com": "plain"}})
    (programs / "docker-credential-plain").write_text("not executable")
    credentials = DockerCredentials((config,))
    place = f"named in {config}"
    assert credentials.find(HOST).looked == (f"docker-credential-desktop, {place} (not installed)",)
    assert credentials.find("b.example.com").looked == (
        f"docker-credential-../evil, {place} (not a program's name)",
    )
    assert credentials.find("c.example.com").looked == (
        f"docker-credential-plain, {place} (Permission denied)",
    )


@pytest.mark.parametrize("auth", ["%%%", base64.b64encode(b"no-colon").decode(), "", 7])
def test_an_entry_without_a_password_is_noted(config: Path, auth: object) -> None:
    write(config, {"auths": {HOST: {"auth": auth}}})
    found = DockerCredentials((config,)).find(HOST)
    assert found == Found(None, (f"{config} (its entry for {HOST} holds no user and password)",))


@pytest.mark.parametrize(
    "content", ["", "{}", '{"auths": {}}', '{"auths": 3, "credHelpers": [], "credsStore": 1}']
)
def test_a_file_without_credentials_is_no_error(config: Path, content: str) -> None:
    write(config, content)
    assert DockerCredentials((config,)).find(HOST) == Found(None, (str(config),))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"auths":\n oops}', "it is not JSON (line 2)"),
        (b'{"a": "\xc3("}', "it is not JSON (not UTF-8)"),
        (b"[]", "it is not a JSON object"),
    ],
)
def test_a_broken_file_is_named(config: Path, content: bytes, why: str) -> None:
    config.parent.mkdir()
    config.write_bytes(content)
    with pytest.raises(RegistryError) as caught:
        DockerCredentials((config,)).find(HOST)
    assert caught.value.message == f"the registry credentials in {config} cannot be read: {why}"
    assert caught.value.hint == "mend the file, or remove it and run `docker login` again"


def test_a_file_that_cannot_be_read_is_named(config: Path) -> None:
    config.mkdir(parents=True)
    with pytest.raises(RegistryError) as caught:
        DockerCredentials((config,)).find(HOST)
    assert caught.value.message == f"the registry credentials in {config} cannot be read: Is a directory"
    assert (
        caught.value.hint == "make the file readable for this user, or point DOCKER_CONFIG to another folder"
    )


def test_a_secret_is_shown_nowhere() -> None:
    secret = Secret("open-sesame")
    credential = Credential("builder", secret, "config.json")
    found = Found(credential)
    for text in (repr(secret), str(secret), f"{secret}", repr(credential), str(credential), repr(found)):
        assert "open-sesame" not in text
    assert repr(secret) == "Secret(…)"
    assert str(credential) == "user 'builder' (config.json)"
    assert secret.reveal() == "open-sesame"
    with pytest.raises(TypeError) as caught:
        pickle.dumps(secret)
    assert str(caught.value) == "a secret is not written anywhere"


def test_a_password_in_a_failing_program_s_output_is_not_noted(config: Path, programs: Path) -> None:
    program(programs, "leaky", 'echo "{\\"Username\\": 1, \\"Secret\\": \\"open-sesame\\"}"')
    write(config, {"credsStore": "leaky"})
    found = DockerCredentials((config,)).find(HOST)
    assert found == Found(None, (f"docker-credential-leaky, named in {config} (has none for it)",))


def test_anonymous_has_nothing() -> None:
    assert Anonymous().find(HOST, "team/app") == Found(None)
