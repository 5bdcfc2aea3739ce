"""Reads a package or an index of apk-tools 3, written from its manual page apk-v3(5) and from what it checks itself when it
installs; nothing here is of the program that wrote it.

    read.py FILE                 what it says, and of a package what is in it
    read.py FILE MEMBER          one file of a package
    read.py FILE signed OUT SIG  writes what the signature is of, and the signature, for OpenSSL to verify
"""
import hashlib
import struct
import sys
import zlib

INFO = ("name version hashes description arch license origin maintainer url repo-commit build-time installed-size file-size "
        "provider-priority depends").split()
SCRIPTS = "trigger pre-install post-install pre-deinstall post-deinstall pre-upgrade post-upgrade".split()


def u32(data, at):
    return struct.unpack_from("<I", data, at)[0]


class Values:
    def __init__(self, data):
        compatible, _, _, root = struct.unpack_from("<BBHI", data)
        assert compatible == 0
        self.data, self.root = data, root

    def read(self, value):
        """A number, bytes, or a list whose first item is the field or element numbered 1."""
        kind, rest = value >> 28, value & 0xFFFFFFF
        if value == 0:
            return None
        if kind == 1:
            return rest
        if kind == 2:
            assert rest % 4 == 0
            return u32(self.data, rest)
        if kind in (8, 9, 10):
            width = 1 << (kind - 8)
            assert rest % width == 0
            length = int.from_bytes(self.data[rest:rest + width], "little")
            blob = self.data[rest + width:rest + width + length]
            assert len(blob) == length > 0
            return blob
        assert kind in (13, 14) and rest % 4 == 0, f"a value of kind {kind}"
        count = u32(self.data, rest)
        assert count > 1
        return [self.read(u32(self.data, rest + 4 * slot)) for slot in range(1, count)]


def blocks(data):
    while data:
        word = u32(data, 0)
        kind, length = word >> 30, word & 0x3FFFFFFF
        assert kind < 3
        end = (length + 7) // 8 * 8
        assert len(data) >= end and not any(data[length:end])
        yield kind, data[4:length]
        data = data[end:]


def text(value):
    return value.decode() if isinstance(value, bytes) else value


def show_info(info):
    for name, value in zip(INFO, info):
        if name == "hashes":
            value = f"{len(value)} bytes"
        elif name == "depends":
            value = " ".join(text(dependency[0]) for dependency in value)
        if value is not None:
            print(f"{name}: {text(value)}")


def acl(value):
    mode, user, group = value
    return f"{mode:04o} {text(user)}:{text(group)}"


def package(values, data, wanted):
    info, paths, scripts = values.read(values.root)
    own = info[2]
    at = values.data.index(own)
    zeroed = values.data[:at] + bytes(len(own)) + values.data[at + len(own):]
    assert own == hashlib.sha256(zeroed).digest()[:20], "its own identifier is wrong"

    names = [text(path[0]) or "" for path in paths]
    assert names == sorted(names, key=str.encode)
    files = []
    for number, (name, access, *content) in enumerate(paths, 1):
        files.append((f"folder {acl(access)}", (text(name) or "") + "/", None))
        content = content[0] if content else []
        assert [file[0] for file in content] == sorted(file[0] for file in content)
        for index, (base, access, size, time, digest) in enumerate(content, 1):
            body = b""
            if size:
                kind, block = next(data)
                assert kind == 2 and struct.unpack_from("<II", block) == (number, index), "data of another file"
                body = block[8:]
            assert len(body) == size and hashlib.sha256(body).digest() == digest
            path = (text(name) + "/" if name else "") + text(base)
            files.append((f"file {acl(access)} {time}", path, body))
    assert next(data, None) is None

    if wanted:
        sys.stdout.buffer.write(next(body for _, path, body in files if path == wanted))
        return
    show_info(info)
    for described, path, _ in files:
        print(described, path)
    for name, script in zip(SCRIPTS, scripts):
        if script:
            print(f"== {name}\n{text(script)}", end="")


def main():
    with open(sys.argv[1], "rb") as file:
        packed = file.read()
    assert packed[:4] == b"ADBd"
    inflate = zlib.decompressobj(-15)
    data = inflate.decompress(packed[4:])
    assert inflate.eof and not inflate.unused_data
    assert data[:4] == b"ADB."
    schema, rest = data[4:8], blocks(data[8:])
    kind, body = next(rest)
    assert kind == 0
    values = Values(body)
    if sys.argv[2:3] == ["signed"]:
        kind, block = next(rest)
        assert kind == 1 and block[:2] == b"\0\4"
        with open(sys.argv[3], "wb") as file:
            file.write(schema + block[:18] + hashlib.sha512(body).digest())
        with open(sys.argv[4], "wb") as file:
            file.write(block[18:])
        print(block[2:18].hex())
    elif schema == b"pckg":
        package(values, rest, sys.argv[2] if len(sys.argv) > 2 else None)
        print("identity:", hashlib.sha256(body).hexdigest(), file=sys.stderr)
    else:
        assert schema == b"indx"
        _, packages = values.read(values.root)
        for info in packages:
            show_info(info)
            print("identity:", info[2].hex())


main()
