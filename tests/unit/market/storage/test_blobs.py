"""Blobs: whatever the storage does, only the right bytes come out."""

import functools
import http.server
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from moto.server import ThreadedMotoServer

from goldengrain.home import Home
from goldengrain.storage.blobs import BlobStore
from goldengrain_protocol.commitments import BLOB_PIECE_BYTES, digest_of
from goldengrain_protocol.errors import InvalidInput, UnavailableError, VerificationError
from goldengrain_protocol.types import Hash32

BLOB = bytes(range(256)) * 10_000 + b"the end"
"""Three pieces, the last one short."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def store(folder: Path, tmp_path: Path) -> BlobStore:
    return BlobStore(folder, tmp_path / "cache")


def fresh_cache(place: Any, tmp_path: Path, name: str = "cache 2") -> BlobStore:
    return BlobStore(place, tmp_path / name)


@pytest.mark.parametrize(
    "blob",
    [b"", b"x", BLOB, bytes(BLOB_PIECE_BYTES), bytes(BLOB_PIECE_BYTES + 1), b"x" * (2 * BLOB_PIECE_BYTES)],
)
def test_blobs_come_back_as_they_went(store: BlobStore, blob: bytes, tmp_path: Path) -> None:
    digest = store.put(blob)
    assert digest == digest_of(blob)
    assert store.has(digest)
    assert store.get(digest) == blob
    file = tmp_path / "file"
    file.write_bytes(blob)
    assert store.put(file) == digest
    store.get_to(digest, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == blob
    assert store.fetch(digest).read_bytes() == blob


def test_home_keeps_its_own_store(home: Home) -> None:
    digest = BlobStore.for_home(home).put(BLOB)
    assert sorted(path.name for path in home.blobs_dir.iterdir()) == [digest.hex(), digest.hex() + ".pieces"]
    assert BlobStore.for_home(home, f"file://{home.blobs_dir}").get(digest) == BLOB


def test_progress_reaches_the_total_both_ways(store: BlobStore) -> None:
    seen: list[tuple[int, int]] = []
    digest = store.put(BLOB, on_progress=lambda done, total: seen.append((done, total)))
    total = len(BLOB)
    expected = [(BLOB_PIECE_BYTES, total), (2 * BLOB_PIECE_BYTES, total), (total, total)]
    assert seen == expected
    seen.clear()
    store.get(digest, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == expected
    seen.clear()
    store.get(digest, on_progress=lambda done, total: seen.append((done, total)))
    store.put(BLOB, on_progress=lambda done, total: seen.append((done, total)))
    assert seen == [(total, total)] * 2


def test_unknown_blob_is_unavailable(store: BlobStore) -> None:
    absent = Hash32(b"\x01" * 32)
    assert not store.has(absent)
    with pytest.raises(UnavailableError, match=f"{absent.hex()}: not at .*blobs"):
        store.get(absent)


@pytest.mark.parametrize("at", [0, BLOB_PIECE_BYTES + 5, len(BLOB) - 1])
def test_a_changed_bit_is_refused_naming_piece_and_place(store: BlobStore, folder: Path, at: int) -> None:
    digest = store.put(BLOB)
    path = folder / digest.hex()
    changed = bytearray(path.read_bytes())
    changed[at] ^= 1
    path.write_bytes(changed)
    with pytest.raises(VerificationError, match=rf"piece {at // BLOB_PIECE_BYTES} .* at {folder}"):
        store.get(digest)


@pytest.mark.parametrize("size", [0, 5, BLOB_PIECE_BYTES, len(BLOB) - 1])
def test_a_truncated_blob_is_refused(store: BlobStore, folder: Path, size: int) -> None:
    digest = store.put(BLOB)
    path = folder / digest.hex()
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(VerificationError, match=r"piece \d must have"):
        store.get(digest)


@pytest.mark.parametrize(
    "break_it",
    [
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: b"",
        lambda data: bytes([data[0] ^ 1]) + data[1:],
        lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    ],
)
def test_a_wrong_list_of_pieces_is_refused(
    store: BlobStore, folder: Path, break_it: Callable[[bytes], bytes]
) -> None:
    digest = store.put(BLOB)
    path = folder / f"{digest.hex()}.pieces"
    path.write_bytes(break_it(path.read_bytes()))
    with pytest.raises(VerificationError, match=r"list of pieces .* does not have this digest"):
        store.get(digest)


def test_a_bad_mirror_is_passed_over(folder: Path, tmp_path: Path) -> None:
    bad, good = tmp_path / "bad", tmp_path / "good"
    for place in (bad, good):
        digest = BlobStore(place, tmp_path / "unused").put(BLOB)
    (bad / digest.hex()).write_bytes(b"\0" * len(BLOB))
    mirrors = [tmp_path / "absent", bad, good]
    assert BlobStore(mirrors, tmp_path / "cache").get(digest) == BLOB
    with pytest.raises(VerificationError, match=r"no address gives blob .*not at .*piece 0"):
        BlobStore(mirrors[:2], tmp_path / "cache 2").get(digest)


def test_a_broken_off_download_continues_with_the_missing_pieces(
    store: BlobStore, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = store.put(BLOB)

    class Stop(BaseException):
        pass

    def stop_after_two(done: int, total: int) -> None:
        if done >= 2 * BLOB_PIECE_BYTES:
            raise Stop

    with pytest.raises(Stop):
        store.get(digest, on_progress=stop_after_two)
    asked: list[int] = []
    place = store._places[0]
    read = place.read

    def count(digest: Hash32, start: int, size: int) -> bytes:
        asked.append(start)
        return read(digest, start, size)

    monkeypatch.setattr(place, "read", count)
    assert store.get(digest) == BLOB
    assert asked == [2 * BLOB_PIECE_BYTES]


def test_a_spoiled_part_is_fetched_again(store: BlobStore, tmp_path: Path) -> None:
    digest = store.put(BLOB)
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / f"{digest.hex()}.part").write_bytes(b"garbage" * 1000)
    assert store.get(digest) == BLOB


def test_an_interrupted_upload_leaves_nothing_that_looks_whole(store: BlobStore, folder: Path) -> None:
    class Stop(BaseException):
        pass

    def stop(done: int, total: int) -> None:
        raise Stop

    with pytest.raises(Stop):
        store.put(BLOB, on_progress=stop)
    assert list(folder.iterdir()) == []
    assert store.get(store.put(BLOB)) == BLOB


def test_a_passing_failure_is_retried(store: BlobStore, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = store.put(BLOB)
    place = store._places[0]
    read = place.read
    failures = [UnavailableError("broken off"), UnavailableError("broken off")]

    def flaky(digest: Hash32, start: int, size: int) -> bytes:
        if failures:
            raise failures.pop()
        return read(digest, start, size)

    monkeypatch.setattr(place, "read", flaky)
    monkeypatch.setattr("goldengrain.storage.blobs._RETRY_S", 0.0)
    assert store.get(digest) == BLOB


def test_memory_keeps_blobs(tmp_path: Path) -> None:
    store = BlobStore("memory://blobs-test", tmp_path / "cache")
    digest = store.put(BLOB)
    assert store.get(digest) == BLOB
    assert fresh_cache("memory://blobs-test", tmp_path).get(digest) == BLOB
    files = fsspec.filesystem("memory").ls("/blobs-test", detail=False)
    assert sorted(name.rpartition("/")[2] for name in files) == [digest.hex(), digest.hex() + ".pieces"]


@pytest.fixture
def web(folder: Path) -> Iterator[str]:
    """A plain web server that knows no ranges."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            return

    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_web_servers_serve_as_mirrors(store: BlobStore, web: str, folder: Path, tmp_path: Path) -> None:
    digest = store.put(BLOB)
    mirror = fresh_cache(web, tmp_path)
    assert mirror.has(digest)
    assert mirror.get(digest) == BLOB
    with pytest.raises(UnavailableError, match="not at http://127"):
        mirror.get(Hash32(b"\x01" * 32))
    (folder / digest.hex()).write_bytes(b"\0" * len(BLOB))
    with pytest.raises(VerificationError, match="piece 0"):
        fresh_cache(web, tmp_path, "cache 3").get(digest)
    with pytest.raises(InvalidInput, match="cannot be written to"):
        mirror.put(b"something new")


def test_a_web_server_that_is_away_is_unavailable(tmp_path: Path) -> None:
    store = BlobStore("http://user:secret@127.0.0.1:9/blobs?key=secret", tmp_path / "cache")
    with pytest.raises(UnavailableError) as caught:
        store.get(Hash32(b"\x01" * 32))
    assert "secret" not in str(caught.value)


def test_s3_keeps_blobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        options = {"client_kwargs": {"endpoint_url": f"http://{host}:{port}", "region_name": "eu-central-1"}}
        fsspec.filesystem("s3", **options).mkdir("bucket")
        store = BlobStore("s3://bucket/models", tmp_path / "cache", storage_options=options)
        digest = store.put(BLOB)
        assert store.has(digest)
        assert store.get(digest) == BLOB
        with pytest.raises(UnavailableError, match="not at s3://bucket/models"):
            store.get(Hash32(b"\x01" * 32))
    finally:
        server.stop()


def test_a_missing_library_names_the_extra_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_library(*_: object, **__: object) -> None:
        raise ImportError("Install s3fs to access S3")

    monkeypatch.setattr("goldengrain.storage.places.url_to_fs", no_library)
    with pytest.raises(InvalidInput, match="no library for blob address s3://bucket") as caught:
        BlobStore("s3://bucket", tmp_path / "cache").put(b"x")
    assert caught.value.next_step == "pip install 'goldengrain[s3]'"


def test_unknown_kinds_of_address_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no kind of storage is known for carrier-pigeon"):
        BlobStore("carrier-pigeon://loft", tmp_path / "cache").put(b"x")
    with pytest.raises(InvalidInput, match="at least one address"):
        BlobStore([], tmp_path / "cache")
    with pytest.raises(InvalidInput, match="cannot read"):
        BlobStore(tmp_path / "blobs", tmp_path / "cache").put(tmp_path / "absent")


def test_storage_that_cannot_be_written_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(UnavailableError, match=r"blob [0-9a-f]{64}: .* fails: NotADirectoryError"):
        BlobStore(tmp_path / "file" / "blobs", tmp_path / "cache").put(b"x")
