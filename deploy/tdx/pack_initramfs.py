"""Packs a directory into an initramfs, the same bytes for the same files.

    python deploy/tdx/pack_initramfs.py ROOT_DIRECTORY INIT_FILE OUTPUT

Entries are sorted; owners are root; inode numbers count up; every date is SOURCE_DATE_EPOCH (default 0). The archive is
not compressed: a compressor is one more version to pin. Prints the SHA-384 digest that the firmware or kernel extends
into RTMR2 for an initrd of these bytes.

Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst ("newc").
"""

from __future__ import annotations

import hashlib
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

BLOCK_BYTES = 512
COPY_BYTES = 1 << 20


def entries(root: Path) -> Iterator[tuple[str, Path]]:
    """Yield (name in the archive, path) of everything below `root`, directories before what is in them."""
    for directory, directories, files in os.walk(root):
        directories.sort()
        here = Path(directory)
        if here != root:
            yield here.relative_to(root).as_posix(), here
        for name in sorted(files + [each for each in directories if (here / each).is_symlink()]):
            path = here / name
            yield path.relative_to(root).as_posix(), path


def header(name: str, *, inode: int, mode: int, date: int, size: int) -> bytes:
    """Return a newc header with its name, padded to four bytes."""
    encoded = name.encode() + b"\0"
    fields = (inode, mode, 0, 0, 1, date, size, 0, 0, 0, 0, len(encoded), 0)
    record = b"070701" + b"".join(b"%08X" % field for field in fields) + encoded
    return record + bytes(-len(record) % 4)


def pack(root: Path, init: Path, output: Path, date: int) -> str:
    """Write the archive and return its SHA-384 digest in hexadecimal.

    Raises:
        SystemExit: the directory holds something that no initramfs of ours has (a device, a socket).
    """
    digest = hashlib.sha384()
    listed = dict(entries(root))
    listed.pop("init", None)
    with output.open("wb") as archive:

        def put(data: bytes) -> None:
            archive.write(data)
            digest.update(data)

        for inode, (name, path) in enumerate([*sorted(listed.items()), ("init", init)], start=1):
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode):
                target = os.readlink(path).encode()
                put(header(name, inode=inode, mode=stat.S_IFLNK | 0o777, date=date, size=len(target)))
                put(target + bytes(-len(target) % 4))
            elif stat.S_ISDIR(status.st_mode):
                put(header(name, inode=inode, mode=stat.S_IFDIR | 0o755, date=date, size=0))
            elif stat.S_ISREG(status.st_mode):
                executable = bool(status.st_mode & 0o111) or name == "init"
                mode = stat.S_IFREG | (0o755 if executable else 0o644)
                put(header(name, inode=inode, mode=mode, date=date, size=status.st_size))
                with path.open("rb") as file:
                    while piece := file.read(COPY_BYTES):
                        put(piece)
                put(bytes(-status.st_size % 4))
            else:
                raise SystemExit(f"{name} is neither file, directory nor link")
        put(header("TRAILER!!!", inode=0, mode=0, date=0, size=0))
        put(bytes(-archive.tell() % BLOCK_BYTES))
    return digest.hexdigest()


def main() -> None:
    """Command line; see the top of this file."""
    if len(sys.argv) != 4:
        raise SystemExit(__doc__)
    date = int(os.environ.get("SOURCE_DATE_EPOCH", "0"))
    sys.stdout.write(f"sha384 {pack(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), date)}\n")


if __name__ == "__main__":
    main()
