"""Codecs: compressions told by their first bytes, expanded in pieces, so that a bomb can be stopped as it goes off."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any

import zstandard

PIECE = 1 << 20
READ = 1 << 16
SIP = 1 << 10


@dataclass(frozen=True)
class Codec:
    """One compression: its first bytes, and how it gives pieces of at most `PIECE` bytes; EOFError: it ends early."""

    name: str
    magic: bytes
    pieces: Callable[[IO[bytes]], Iterator[bytes]]


def _gz_pieces(raw: IO[bytes]) -> Iterator[bytes]:
    decoder, chunk = zlib.decompressobj(31), raw.read(READ)
    while chunk:
        yield decoder.decompress(chunk, PIECE)
        while decoder.unconsumed_tail and not decoder.eof:
            yield decoder.decompress(decoder.unconsumed_tail, PIECE)
        rest = decoder.unused_data if decoder.eof else b""
        if decoder.eof and rest.strip(b"\0"):
            decoder, chunk = zlib.decompressobj(31), rest  # gzip files may be concatenated
            continue
        chunk = raw.read(READ)
        if chunk and decoder.eof:
            decoder = zlib.decompressobj(31)
    if not decoder.eof:
        raise EOFError


def _stream_pieces(new: Callable[[], Any]) -> Callable[[IO[bytes]], Iterator[bytes]]:
    """Pieces of a bz2 or xz file; several streams may follow each other."""

    def pieces(raw: IO[bytes]) -> Iterator[bytes]:
        decoder, chunk = new(), raw.read(READ)
        while chunk:
            yield decoder.decompress(chunk, PIECE)
            while not decoder.eof and not decoder.needs_input:
                yield decoder.decompress(b"", PIECE)
            rest = decoder.unused_data if decoder.eof else b""
            chunk = rest if rest.strip(b"\0") else raw.read(READ)
            if chunk and decoder.eof:
                decoder = new()
        if not decoder.eof:
            raise EOFError

    return pieces


def _zst_pieces(raw: IO[bytes]) -> Iterator[bytes]:
    """Fed in small sips, since a decoder of this library cannot be told how much to give: 32 KiB grow from 1 byte."""
    decoder, chunk = zstandard.ZstdDecompressor().decompressobj(), raw.read(SIP)
    while chunk:
        yield decoder.decompress(chunk)
        chunk = decoder.unused_data if decoder.eof and decoder.unused_data else raw.read(SIP)
        if chunk and decoder.eof:
            decoder = zstandard.ZstdDecompressor().decompressobj()
    if not decoder.eof:
        raise EOFError


CODECS = (
    Codec("gz", b"\x1f\x8b", _gz_pieces),
    Codec("bz2", b"BZh", _stream_pieces(bz2.BZ2Decompressor)),
    Codec("xz", b"\xfd7zXZ\x00", _stream_pieces(lzma.LZMADecompressor)),
    Codec("zst", b"\x28\xb5\x2f\xfd", _zst_pieces),
)
DAMAGED = (EOFError, zlib.error, lzma.LZMAError, zstandard.ZstdError, OSError, ValueError)
"""What decoders raise where a stream is cut or damaged; what came out before may hold whole frames."""


def codec_of(raw: IO[bytes]) -> Codec | None:
    """The compression of a file by its first bytes, from which it then is read; None: there is none."""
    begin = raw.read(6)
    raw.seek(0)
    return codec_by(begin)


def codec_by(begin: bytes | bytearray) -> Codec | None:
    """The compression that a file with these first bytes is of."""
    return next((codec for codec in CODECS if begin.startswith(codec.magic)), None)
