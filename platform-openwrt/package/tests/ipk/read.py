"""Prints what is in an .ipk, as Python's own gzip and tarfile read it: nothing here is of the program that wrote it.

    read.py FILE               the members, of the package and of its two archives
    read.py FILE MEMBER FILE   one file of an archive, for example control.tar.gz ./control
"""
import io
import struct
import sys
import tarfile
import gzip


def unpack(packed):
    """gzip's header has to say nothing of name and time, or the bytes would be others each time."""
    magic, method, flags, time = struct.unpack("<HBBI", packed[:8])
    assert (magic, method) == (0x8B1F, 8), "no gzip"
    assert (flags, time) == (0, 0), f"gzip's header has flags {flags:#x} and time {time}"
    return gzip.decompress(packed)


def archive(packed):
    raw = unpack(packed)
    assert raw[257:265] == b"ustar  \0", "not GNU's format"
    return tarfile.open(fileobj=io.BytesIO(raw), mode="r:")


def show(name, members):
    print(f"{name}:")
    for member in members:
        kind = {tarfile.REGTYPE: "file", tarfile.DIRTYPE: "folder"}[member.type]
        owner = f"{member.uid}:{member.gid}{member.uname}{member.gname}"
        slash = "/" if member.isdir() else ""
        print(f"{kind} {member.mode:04o} {owner} {member.mtime} {member.name}{slash}")


def main():
    with open(sys.argv[1], "rb") as file:
        outer = archive(file.read())
    if len(sys.argv) > 2:
        inner = archive(outer.extractfile("./" + sys.argv[2]).read())
        sys.stdout.buffer.write(inner.extractfile(sys.argv[3]).read())
        return
    show("ipk", outer)
    assert outer.extractfile("./debian-binary").read() == b"2.0\n"
    for name in ("data.tar.gz", "control.tar.gz"):
        show(name, archive(outer.extractfile("./" + name).read()))


main()
