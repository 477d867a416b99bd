"""Frames on the pipe between host and enclave: 8 bytes big-endian length, then the payload.

Source: docs/spec/wire.md.
"""

from typing import Final

from goldengrain_protocol.constants import MAX_FRAME_BYTES
from goldengrain_protocol.errors import InvalidInput

FRAME_HEADER_BYTES: Final = 8


def frame_header(payload_bytes: int) -> bytes:
    """Return the 8 bytes that precede a payload of this size.

    Raises:
        InvalidInput: the size is not in 1..`MAX_FRAME_BYTES`.
    """
    if not 1 <= payload_bytes <= MAX_FRAME_BYTES:
        raise InvalidInput(f"frame payload must have 1..{MAX_FRAME_BYTES} bytes, got {payload_bytes}")
    return payload_bytes.to_bytes(FRAME_HEADER_BYTES, "big")


def encode_frame(payload: bytes) -> bytes:
    """Return header and payload. Raises: InvalidInput as `frame_header`."""
    return frame_header(len(payload)) + payload


def decode_frame_header(header: bytes, *, max_frame_bytes: int = MAX_FRAME_BYTES) -> int:
    """Return the payload size that an 8-byte header announces.

    Raises:
        InvalidInput: not 8 bytes, or a size not in 1..`max_frame_bytes`.
    """
    if len(header) != FRAME_HEADER_BYTES:
        raise InvalidInput(f"frame header must have {FRAME_HEADER_BYTES} bytes, got {len(header)}")
    size = int.from_bytes(header, "big")
    if not 1 <= size <= max_frame_bytes:
        raise InvalidInput(f"frame payload must have 1..{max_frame_bytes} bytes, got {size}")
    return size


class FrameDecoder:
    """Cuts a byte stream into payloads. Holds at most one unfinished frame; reserves nothing ahead."""

    def __init__(self, *, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._max = max_frame_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes | bytearray | memoryview) -> list[bytes]:
        """Return the payloads that `data` completes, in order.

        Raises:
            InvalidInput: a frame announces a size not in 1..`max_frame_bytes`; the stream is lost then.
        """
        self._buffer += data
        frames: list[bytes] = []
        at = 0
        while len(self._buffer) - at >= FRAME_HEADER_BYTES:
            start = at + FRAME_HEADER_BYTES
            size = decode_frame_header(bytes(self._buffer[at:start]), max_frame_bytes=self._max)
            if len(self._buffer) - start < size:
                break
            with memoryview(self._buffer) as view:
                frames.append(bytes(view[start : start + size]))
            at = start + size
        del self._buffer[:at]
        return frames

    def finish(self) -> None:
        """Check that the stream ended between two frames.

        Raises:
            InvalidInput: it ended inside a frame.
        """
        if self._buffer:
            raise InvalidInput(f"stream ended inside a frame, {len(self._buffer)} bytes were pending")
