"""Bodies as they arrive: unpacked within bounds, refused with the status that OTLP gives.

Before it: the HTTP side. After it: `otlp`, which reads what is inside. Nothing here waits.
"""

from __future__ import annotations

import zlib

from controller.errors import InvalidInput

PROTOBUF = "application/x-protobuf"
JSON = "application/json"


class BodyRefused(InvalidInput):
    """A body that is not kept.

    Args:
        status: The HTTP status that OTLP gives for it: 400, 413 or 415.
    """

    def __init__(self, message: str, *, status: int) -> None:
        super().__init__(message, field="body")
        self.status = status


class Unpacker:
    """Takes the chunks of one request body and holds at most a number of unpacked bytes.

    Args:
        encoding: The Content-Encoding header.
        max_bytes: Largest unpacked size.

    Raises:
        BodyRefused: 415, the encoding is not gzip or identity.
    """

    def __init__(self, encoding: str, *, max_bytes: int) -> None:
        if encoding not in ("", "identity", "gzip"):
            raise BodyRefused("content-encoding: expected gzip or identity", status=415)
        self._inflate = zlib.decompressobj(wbits=31) if encoding == "gzip" else None
        self._max_bytes = max_bytes
        self._body = bytearray()

    def __len__(self) -> int:
        return len(self._body)

    def feed(self, chunk: bytes) -> None:
        """Take one chunk.

        Raises:
            BodyRefused: 413, the unpacked body is too large (seen without unpacking the rest); 400, not gzip.
        """
        left = self._max_bytes - len(self._body)
        if self._inflate is None:
            self._body += chunk[: left + 1]
        else:
            try:
                self._body += self._inflate.decompress(chunk, left + 1)
            except zlib.error as error:
                raise BodyRefused("the body is not gzip", status=400) from error
            if self._inflate.unused_data:
                raise BodyRefused("the body goes on after the end of its gzip stream", status=400)
        if len(self._body) > self._max_bytes:
            raise BodyRefused(f"the body is larger than {self._max_bytes} bytes", status=413)

    def finish(self) -> bytes:
        """Return the whole body.

        Raises:
            BodyRefused: 400, the gzip stream is cut off.
        """
        if self._inflate is not None and not self._inflate.eof:
            raise BodyRefused("the gzip stream is cut off", status=400)
        return bytes(self._body)
