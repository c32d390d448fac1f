"""What a real registry needs to demand a login: htpasswd, certificates, and a server that signs tokens.

Certificates and signatures are made by the program openssl. The user is the one of parts/registry_quirks.py.
"""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from parts import services
from parts.registry_quirks import PASSWORD, USER

#: `builder:open-sesame` as htpasswd -B writes it, with bcrypt's least cost.
HTPASSWD = "builder:$2b$04$DBU1xIdcDrwVZ0p9t8.JhuzglZxHQ0fZZkl5OSUAgCOg3K20qvaYa"


def htpasswd(folder: Path) -> Path:
    """A file for docker-registry's auth.htpasswd."""
    path = folder / "htpasswd"
    path.write_text(f"{HTPASSWD}\n")
    return path


@dataclass(frozen=True, slots=True)
class Certificate:
    """A self-signed certificate for 127.0.0.1 and its key, both PEM files."""

    certificate: Path
    key: Path


def certificate(folder: Path) -> Certificate:
    """Make one that lasts a day."""
    made = Certificate(folder / "certificate.pem", folder / "key.pem")
    subprocess.run(
        [
            services.program("openssl"),
            *(
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-days",
                "1",
                "-subj",
                "/CN=enginebuild-tests",
            ),
            *(
                "-addext",
                "subjectAltName=IP:127.0.0.1,DNS:registry.invalid",
                "-keyout",
                made.key,
                "-out",
                made.certificate,
            ),
        ],
        check=True,
        capture_output=True,
    )
    return made


class TokenServer:
    """Signs tokens for docker-registry: the builder may do all, anybody may read."""

    issuer, service = "enginebuild-tests", "registry-tests"

    def __init__(self, signer: Certificate, lifetime: int) -> None:
        self.lifetime = lifetime
        self.given = 0
        self._signer = signer

    def token(self, scopes: list[str], known: bool) -> str:
        """A JSON web token (RFC 7519) as the registry's specification wants it."""
        now = int(time.time())
        access = []
        for scope in scopes:
            kind, name, actions = scope.split(":")
            allowed = [action for action in actions.split(",") if known or action == "pull"]
            access.append({"type": kind, "name": name, "actions": allowed})
        self.given += 1
        pem = self._signer.certificate.read_text()
        head = {"typ": "JWT", "alg": "RS256", "x5c": ["".join(pem.splitlines()[1:-1])]}
        claims = {
            "iss": self.issuer,
            "aud": self.service,
            "sub": USER if known else "",
            "jti": f"token-{self.given}",
            "iat": now,
            "nbf": now - 5,
            "exp": now + self.lifetime,
            "access": access,
        }
        text = f"{_base64(json.dumps(head).encode())}.{_base64(json.dumps(claims).encode())}"
        signed = subprocess.run(
            [services.program("openssl"), "dgst", "-sha256", "-sign", self._signer.key],
            input=text.encode(),
            capture_output=True,
            check=True,
        )
        return f"{text}.{_base64(signed.stdout)}"


def _base64(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")


@contextmanager
def token_server(signer: Certificate, lifetime: int = 300) -> Iterator[tuple[TokenServer, dict[str, str]]]:
    """Start one; gives it and the section auth.token for docker-registry's configuration."""
    tokens = TokenServer(signer, lifetime)
    known = f"Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}"

    class Conversation(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            given = self.headers.get("Authorization")
            scopes = " ".join(parse_qs(urlsplit(self.path).query).get("scope", [])).split()
            if given not in (None, known):
                self._say(401, {"details": "incorrect username or password"})
            else:
                self._say(200, {"token": tokens.token(scopes, given == known), "expires_in": tokens.lifetime})

        def _say(self, status: int, document: object) -> None:
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Conversation)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield (
            tokens,
            {
                "realm": f"http://127.0.0.1:{server.server_address[1]}/token",
                "service": tokens.service,
                "issuer": tokens.issuer,
                "rootcertbundle": str(signer.certificate),
            },
        )
    finally:
        server.shutdown()
        server.server_close()
