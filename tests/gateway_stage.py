"""A gateway over known objects, and requests to it that no client library would make."""

from __future__ import annotations

import hashlib
import http.client
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_magnus.gateway.process import Gateway
from airflow_magnus.gateway.views import REGION

SEVERAL = {f"many/{number:03}.txt": f"number {number}".encode() for number in range(25)}
OBJECTS = {
    "a.txt": b"alpha",
    "dir/b.txt": b"beta " * 100,
    "dir/sub/c.bin": bytes(range(256)) * 1200,
    "odd/ä + %&=?#'(1).txt": b"odd",
    "empty": b"",
    **SEVERAL,
}
STAGING = "cat/manual__2026-10-01T00:00:00+00:00/.staging/"
"""As in a run of Airflow: with characters that stand in URLs as others."""
CHOSEN = {"x.txt": "a.txt", "deep/y.txt": "dir/b.txt", "gone.txt": "not-there"}


@dataclass
class Stage:
    """A gateway that serves.

    :param real: client of the store behind; None of a folder.
    :param bucket: of the store behind, with objects beside those that the gateway shows.
    """

    gateway: Gateway
    client: Any
    real: Any
    bucket: str
    kind: str

    def raw(
        self,
        method: str,
        target: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        signs: bool = True,
        payload: str = "",
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        """Send a request whose target is not touched, signed as it stands."""
        sent = {"host": self.gateway.endpoint.removeprefix("http://"), **(headers or {})}
        if signs:
            sent = self.signed(method, target, sent, payload or hashlib.sha256(body).hexdigest())
        connection = http.client.HTTPConnection(sent["host"], timeout=30)
        connection.host, connection.port = "127.0.0.1", int(self.gateway.endpoint.rpartition(":")[2])
        try:
            connection.putrequest(method, "/", skip_host=True, skip_accept_encoding=True)
            connection._buffer[0] = f"{method} {target} HTTP/1.1".encode()  # type: ignore[attr-defined]
            for name, value in sent.items():
                connection.putheader(name, value.encode())
            if body or method in ("PUT", "POST"):
                connection.putheader("content-length", str(len(body)))
            connection.endheaders(body or None)
            answer = connection.getresponse()
            return answer.status, answer.read(), answer.headers
        finally:
            connection.close()

    def signed(
        self, method: str, target: str, headers: Mapping[str, str], payload: str, token: str = ""
    ) -> dict[str, str]:
        """The headers with a signature."""
        from botocore.auth import S3SigV4Auth
        from botocore.awsrequest import AWSRequest
        from botocore.credentials import Credentials

        token = token or self.gateway.token
        url = f"http://{headers['host']}{target}"
        request = AWSRequest(method=method, url=url, headers=dict(headers))
        signer: Any = S3SigV4Auth(Credentials(token, token), "s3", "us-east-1")
        signer.payload = lambda _: payload
        signer.add_auth(request)
        return {**headers, **dict(request.headers.items())}

    def connect(self) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(
            ("127.0.0.1", int(self.gateway.endpoint.rpartition(":")[2])), timeout=60
        )


def client_of(gateway: Gateway, **options: Any) -> Any:
    """A boto3 client of the gateway."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=gateway.endpoint,
        region_name=REGION,
        aws_access_key_id=gateway.token,
        aws_secret_access_key=gateway.token,
        config=Config(retries={"max_attempts": 1}, **options),
    )


def code_of(error: Any) -> tuple[int, str]:
    """Status and code of a refusal."""
    answer = error.value.response
    return answer["ResponseMetadata"]["HTTPStatusCode"], answer["Error"]["Code"]
