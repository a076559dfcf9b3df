"""Stores that speak the protocols of Google Cloud Storage and of Azure Blob Storage, in processes of their own.

Of the former there is no emulator from the package registry that knows the protocol which obstore speaks (the XML API;
those that there are know the JSON API). It is that of S3 but for the credentials and for how a path is spelled, and an
S3 server answers it behind a proxy that translates these two. The latter is Azurite, from npm.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import itertools
import json
import os
import re
import shutil
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Generator
from email.utils import formatdate
from pathlib import Path
from typing import Any, Final, final

from objectstores import SIGNATURE, S3Server, free_port
from typing_extensions import override

from webds.openers import ObjectStoreOpener

__all__ = ["AzureStore", "CloudStore", "GoogleStore", "azurite", "google_head", "serving_azure"]

_numbers = itertools.count()


class CloudStore(ABC):
    """A store that runs; each test has a bucket of its own.

    Args:
        port: of this host.
    """

    scheme: str

    def __init__(self, port: int) -> None:
        self.port = port

    @abstractmethod
    def bucket(self) -> str:
        """Make a bucket and return its URL, without a slash at its end."""

    @abstractmethod
    def put(self, url: str, body: bytes) -> str:
        """Store an object, as somebody else, and return its URL."""

    @abstractmethod
    def keys(self, bucket: str) -> list[str]:
        """Return the keys that are in a bucket for everybody to see, sorted."""

    @abstractmethod
    def unfinished(self, bucket: str) -> list[str]:
        """Return the keys of what is on its way into a bucket."""

    @abstractmethod
    def settings(self, port: int) -> dict[str, Any]:
        """Return what an opener needs to know, if it is to ask at ``port``."""

    def opener(self, port: int | None = None, **options: Any) -> ObjectStoreOpener:
        """Return an opener for this store, or for a proxy before it, that loses no time."""
        eager: dict[str, Any] = {"backoff": 0.001, "max_backoff": 0.01, "timeout": 10.0}
        return ObjectStoreOpener(**self.settings(self.port if port is None else port) | eager | options)


def google_head(head: bytes) -> bytes:
    """Translate the head of a request to Google's store into that of one to S3."""
    lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"authorization:")]
    method, target, version = lines[0].split(b" ")
    path, mark, query = target.partition(b"?")
    path = urllib.parse.quote(urllib.parse.unquote_to_bytes(path)).encode()
    lines[0] = b" ".join([method, path + mark + query, version])
    return b"\r\n".join([lines[0], b"Authorization: " + SIGNATURE.encode(), *lines[1:]])


@final
class GoogleStore(CloudStore):
    """Google's store.

    Args:
        port: of a proxy that translates by `google_head`.
        server: what is behind it.
    """

    scheme = "gs"

    def __init__(self, port: int, server: S3Server) -> None:
        super().__init__(port)
        self.server = server

    @override
    def bucket(self) -> str:
        return f"gs://{self.server.bucket()}"

    @override
    def put(self, url: str, body: bytes) -> str:
        self.server.put(url.replace("gs://", "s3://"), body)
        return url

    @override
    def keys(self, bucket: str) -> list[str]:
        return self.server.keys(bucket.removeprefix("gs://"))

    @override
    def unfinished(self, bucket: str) -> list[str]:
        return self.server.uploads(bucket.removeprefix("gs://"))

    @override
    def settings(self, port: int) -> dict[str, Any]:
        account = {
            "disable_oauth": True,
            "client_email": "tester",
            "private_key": "hushes-of-the-tester",
            "private_key_id": "",
        }
        return {"endpoint": f"http://127.0.0.1:{port}", "options": {"service_account_key": json.dumps(account)}}


_ACCOUNT: Final = "devstoreaccount1"
_KEY: Final = base64.b64encode(b"hushes-of-the-tester-of-azure" * 2).decode()


@final
class AzureStore(CloudStore):
    """Azure's store."""

    scheme = "az"

    def ask(self, method: str, path: str, query: str = "", body: bytes | None = None) -> bytes:
        """Send a signed request of its protocol, as somebody else."""
        when = formatdate(usegmt=True)
        headers = {"x-ms-blob-type": "BlockBlob", "x-ms-date": when, "x-ms-version": "2021-08-06"}
        content = "application/octet-stream"
        signed = "".join(f"{name}:{value}\n" for name, value in sorted(headers.items()))
        signed += f"/{_ACCOUNT}/{_ACCOUNT}{path}" + "".join(
            "\n" + part.replace("=", ":") for part in sorted(filter(None, query.split("&")))
        )
        text = "\n".join([method, "", "", str(len(body)) if body else "", "", content, *[""] * 6, signed])
        digest = hmac.new(base64.b64decode(_KEY), text.encode(), hashlib.sha256).digest()
        headers["Authorization"] = f"SharedKey {_ACCOUNT}:{base64.b64encode(digest).decode()}"
        headers |= {"Content-Type": content, "Content-Length": str(len(body or b""))}
        url = f"http://127.0.0.1:{self.port}/{_ACCOUNT}{path}?{query}"
        request = urllib.request.Request(url, body, headers, method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as response:
            return bytes(response.read())

    @override
    def bucket(self) -> str:
        name = f"bucket-{next(_numbers)}"
        self.ask("PUT", f"/{name}", "restype=container")
        return f"az://{name}"

    @override
    def put(self, url: str, body: bytes) -> str:
        self.ask("PUT", "/" + urllib.parse.quote(url.removeprefix("az://")), body=body)
        return url

    def _listed(self, bucket: str, more: str) -> list[str]:
        found = self.ask("GET", "/" + bucket.removeprefix("az://"), f"comp=list&restype=container{more}").decode()
        return sorted(re.findall(r"<Name>([^<]*)</Name>", found))

    @override
    def keys(self, bucket: str) -> list[str]:
        return self._listed(bucket, "")

    @override
    def unfinished(self, bucket: str) -> list[str]:
        return sorted(set(self._listed(bucket, "&include=uncommittedblobs")) - set(self.keys(bucket)))

    @override
    def settings(self, port: int) -> dict[str, Any]:
        options = {"account_name": _ACCOUNT, "account_key": _KEY}
        return {"endpoint": f"http://127.0.0.1:{port}/{_ACCOUNT}", "options": options}


def azurite() -> str | None:
    """Return the path of Azurite's program; None where it is not installed (``npm install --global azurite``)."""
    return shutil.which("azurite-blob")


@contextlib.contextmanager
def serving_azure(program: str, folder: Path) -> Generator[AzureStore]:
    """Run Azurite, with its data in a folder, until the block is left."""
    store = AzureStore(free_port())
    command = [
        program, "--silent", "--disableTelemetry", "--skipApiVersionCheck", "--inMemoryPersistence",
        "--blobHost", "127.0.0.1", "--blobPort", str(store.port),
    ]  # fmt: skip
    # Signed by a key of these tests. In a folder of its own, as it writes where it stands.
    environment = {**os.environ, "AZURITE_ACCOUNTS": f"{_ACCOUNT}:{_KEY}"}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder, env=environment
    ) as process:
        try:
            deadline = time.monotonic() + 60
            while True:
                with contextlib.suppress(urllib.error.URLError):
                    store.bucket()
                    break
                assert process.poll() is None, "the server has ended"
                assert time.monotonic() < deadline, "the server does not answer"
                time.sleep(0.1)
            yield store
        finally:
            process.kill()
