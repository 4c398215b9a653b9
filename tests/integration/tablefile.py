"""Every block of a sorted table, decoded without the server's own code (the bytes are drawn in storage/sst_write.c and block.c)."""
import ctypes
import os
import struct

MAGIC, FOOTER, SEAL = b"PRLYSST1", 40, 13
_lz4 = None


class Damaged(Exception):
    pass


def _expand(payload, length):
    global _lz4
    _lz4 = _lz4 or ctypes.CDLL("liblz4.so.1")
    out = ctypes.create_string_buffer(length)
    if _lz4.LZ4_decompress_safe(payload, out, len(payload), length) != length:
        raise Damaged("an LZ4 block")
    return out.raw


def _unseal(data, at, length):
    sealed = data[at:at + length]
    kind, raw = struct.unpack("<BI", sealed[length - SEAL:length - 8])
    payload = sealed[:length - SEAL]
    return payload if kind == 0 else _expand(payload, raw)


def _varint(data, at):
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def _entries(block):
    """(key, value, is_tombstone) of a block's entries."""
    n = struct.unpack("<I", block[-4:])[0]
    end, at, key = len(block) - 4 * (n + 1), 0, b""
    while at < end:
        shared, at = _varint(block, at)
        own, at = _varint(block, at)
        value, at = _varint(block, at)
        key = key[:shared] + block[at:at + own]
        at += own
        yield key, block[at:at + value // 2], bool(value & 1)
        at += value // 2
    if at != end:
        raise Damaged("entries do not end where the restart points begin")


def blocks(data):
    """The decoded data blocks of a table's bytes, in order; they must hold what the table says that it holds."""
    at, length, version = struct.unpack("<QII", data[-FOOTER:-FOOTER + 16])
    meta, numbers, pos = _unseal(data, at, length), [], 0
    for _ in range(8):
        number, pos = _varint(meta, pos)
        numbers.append(number)
    entries, _, n_blocks, _, _, _, index_at, index_len = numbers
    found = n = 0
    for _, place, _ in _entries(_unseal(data, index_at, index_len)):
        block_at, pos = _varint(place, 0)
        block_len, _ = _varint(place, pos)
        block = _unseal(data, block_at, block_len)
        n += 1
        found += sum(1 for _ in _entries(block))
        yield block
    if (n, found) != (n_blocks, entries):
        raise Damaged(f"{n} blocks with {found} entries, not {n_blocks} with {entries}")


def of_folder(folder):
    """(path, the decoded blocks one behind the other) of each table below a folder."""
    for at, _, names in os.walk(folder):
        for name in names:
            if not name.endswith(".sst"):
                continue
            path = os.path.join(at, name)
            try:
                with open(path, "rb") as f:
                    data = f.read()
            except FileNotFoundError:  # merged away meanwhile
                continue
            if data.endswith(MAGIC):  # else it is not finished
                yield path, b"".join(blocks(data))
