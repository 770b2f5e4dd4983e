"""Makes asyncssh send and receive the data of channels with less work for each packet.

OpenSSH sends and accepts at most 32 KiB in a packet, so a large transfer is thousands of packets. For each of them
asyncssh makes a new cipher object, writes a line for the log, and copies the data about ten times. Here, packets with
data are encrypted, decrypted and copied as seldom as possible. asyncssh itself handles all other packets. asyncssh also
handles the packets with data if the cipher is not AES-GCM or if compression is used, and it sends packets with data
while keys are exchanged.

asyncssh offers no interface for this, so this module uses its private attributes. If a release of asyncssh lacks one of
a connection's attributes, asyncssh handles all packets itself; if a release lacks one of a channel's attributes,
asyncssh sends all packets itself. ``tests/unit/test_ssh_data_path.py`` fails if the installed release lacks one of the
attributes, or uses it in another way; ``pyproject.toml`` allows no later releases than those that were tested.
"""

from __future__ import annotations

import logging
import os
import time
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

from asyncssh import ProtocolError
from asyncssh.encryption import GCMEncryption
from asyncssh.packet import PacketDecodeError, SSHPacket
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from factorycommon.read_buffer import ReadBuffer

log = logging.getLogger(__name__)

_MSG_IGNORE, _MSG_CHANNEL_DATA = 2, 94  # RFC 4253, 12; RFC 4254, 9
_LENGTH, _BLOCK, _TAG = 4, 16, 16  # bytes of a packet's length field, of a block of AES, and of a tag of GCM
_LEAST_PADDING = 4  # bytes; RFC 4253, 6
# Bytes; each side accepts packets of 32 KiB (RFC 4253, 6.1). A side that accepts only a few bytes a packet would make
# this one work for each of them.
_LEAST_PACKET = 1 << 10
_JOINED = 16 << 10  # bytes up to which waiting pieces are joined
# attributes of an SSHConnection, and of an SSHChannel, that this module uses
_NEEDED = (
    "_auth_complete",
    "_channels",
    "_compressor",
    "_decompressor",
    "_finish_recv_packet",
    "_inpbuf",
    "_kex_complete",
    "_max_recv_pktlen",
    "_recv_encryption",
    "_recv_pkthdr",
    "_recv_seq",
    "_rekey_bytes",
    "_rekey_bytes_sent",
    "_rekey_seconds",
    "_rekey_time",
    "_send",
    "_send_encryption",
    "_send_seq",
    "_transport",
    "add_channel",
)
_NEEDED_OF_CHANNEL = ("_flush_send_buf", "_send_buf", "_send_buf_len", "_send_chan", "_send_pktsize", "_send_window")
_HEADER = 6  # bytes of a decrypted packet before the channel's data: padding's length, type, channel's number


def use_data_path(connection: Any) -> None:
    """Make ``connection``, a client's or a server's, send and receive the data of its channels with less work.

    For sending, this holds only for channels that are opened later. Besides, the connection no longer sends an empty
    message before each message. Empty messages are a defence against an attack on CBC ciphers (RFC 4251, 9.3.1); link
    and doors offer no CBC ciphers, and OpenSSH does not send empty messages either.
    """
    connection.send_packet = _without_empty_messages(connection.send_packet)
    if all(hasattr(connection, name) for name in _NEEDED):
        connection._inpbuf = _InputBuffer(bytes(connection._inpbuf))
        connection._recv_pkthdr = _Receiver(connection).receive
        connection.add_channel = _Sender(connection).add_channel


def _without_empty_messages(send: Callable[..., None]) -> Callable[..., None]:
    """Return asyncssh's ``send_packet``, ``send``, as a function that sends no empty messages."""

    def send_packet(pkttype: int, *args: bytes, handler: Any = None) -> None:
        if pkttype != _MSG_IGNORE:
            send(pkttype, *args, handler=handler)

    return send_packet


class _InputBuffer(ReadBuffer):
    """A ReadBuffer in place of the ``bytes`` object in which asyncssh keeps what a connection has received."""

    def __iadd__(self, data: bytes) -> _InputBuffer:
        self.append(data)
        return self

    def __getitem__(self, part: slice) -> Any:
        """Return the bytes of a slice with an end.

        For a slice without an end, cut off the bytes before the slice's start, and return ``self``.

        asyncssh uses slices without an end only to assign them to the buffer itself. For a packet that is too short, it
        uses negative numbers, which count from the end.
        """
        start, stop, _ = part.indices(len(self))
        if part.stop is None:
            self.skip(start)
            return self
        return bytes(self.view(start, max(start, stop)))

    def find(self, what: bytes, start: int, stop: int) -> int:
        """Return where ``what`` begins between ``start`` and ``stop``, as ``bytes.find`` does."""
        return bytes(self.view(0, stop)).find(what, start)


class _Cipher:
    """Encrypts or decrypts the packets of one direction, with a single AESGCM object for each of asyncssh's keys.

    Keys change after 1 GB, and after an hour.
    """

    def __init__(self) -> None:
        self._of: object = None
        self._aead: AESGCM
        self._state: Any = None  # asyncssh's object, which counts the packets

    def take(self, encryption: object) -> bool:
        """Use the cipher of ``encryption``, asyncssh's object, if this is AES-GCM; return whether it is AES-GCM.

        ``encryption`` must not be None, so call this only after the first exchange of keys.
        """
        if encryption is not self._of:
            if not isinstance(encryption, GCMEncryption):
                return False
            self._of, self._state = encryption, encryption._cipher
            self._aead = AESGCM(self._state._key)
        return True

    def encrypt(self, length: bytes, packet: bytes) -> bytes:
        """Return ``packet``, encrypted, with its tag; advance the packet counter in asyncssh's nonce."""
        encrypted = self._aead.encrypt(self._state._iv, packet, length)
        self._state._update_iv()
        return encrypted

    def decrypt(self, length: bytes, packet: memoryview) -> bytes:
        """Return ``packet``, which has a tag, decrypted. Raises InvalidTag.

        The packet counter stays as it is, since asyncssh may have to decrypt the packet again. ``count`` advances the
        counter.
        """
        return self._aead.decrypt(self._state._iv, packet, length)

    def count(self) -> None:
        """Advance asyncssh's packet counter, after a packet was decrypted and taken off the buffer."""
        self._state._update_iv()


class _Sender:
    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._add_channel = connection.add_channel  # asyncssh's own method
        self._cipher = _Cipher()

    def add_channel(self, channel: Any) -> Any:
        """Add a new channel, whose data this object will send; return its number, as asyncssh's method does."""
        if all(hasattr(channel, name) for name in _NEEDED_OF_CHANNEL):
            flush = partial(self._flush, weakref.ref(channel))  # the channel is freed when asyncssh drops it
            channel._flush_send_buf = flush
        return self._add_channel(channel)

    def _flush(self, which: Callable[[], Any]) -> None:
        """Send what the channel has to send, as far as its window allows.

        ``which``: returns the channel, or None if the channel is freed already.

        End the connection if its other side accepts less than ``_LEAST_PACKET`` bytes a packet.
        """
        channel = which()
        if channel is None:
            return
        if channel._send_chan is not None and channel._send_pktsize < _LEAST_PACKET:
            log.warning("A connection was ended, since its other side accepts %d bytes a packet", channel._send_pktsize)
            self._connection.abort()
            return
        while channel._send_buf and channel._send_chan is not None:
            data, kind = channel._send_buf[0]
            if kind is not None:  # data of another type, such as stderr
                break
            sent = self._send_some(channel, data)
            if sent < len(data):
                del data[:sent]
                break
            del channel._send_buf[0]
        type(channel)._flush_send_buf(channel)  # the rest, and what follows when the buffer is empty

    def _send_some(self, channel: Any, data: bytearray) -> int:
        """Send as much of ``data`` as the channel's window and ``_may_send`` allow; return the number of sent bytes."""
        number, sent = channel._send_chan.to_bytes(4, "big"), 0
        with memoryview(data) as view:
            while sent < len(data) and channel._send_window and self._may_send():
                size = min(channel._send_window, channel._send_pktsize, len(data) - sent)
                channel._send_window -= size
                channel._send_buf_len -= size
                with view[sent : sent + size] as piece:
                    self._send_data(number + size.to_bytes(4, "big"), piece)
                sent += size
        return sent

    def _may_send(self) -> bool:
        connection = self._connection
        return bool(
            connection._kex_complete
            and connection._auth_complete
            and connection._compressor is None
            and connection._rekey_bytes_sent < connection._rekey_bytes
            and not (connection._rekey_seconds and time.monotonic() >= connection._rekey_time)
            and self._cipher.take(connection._send_encryption)
        )

    def _send_data(self, header: bytes, data: memoryview) -> None:
        """Send a packet. ``header``: the channel's number, and the length of ``data``."""
        connection = self._connection
        size = 2 + len(header) + len(data)
        padding = -size % _BLOCK
        if padding < _LEAST_PADDING:
            padding += _BLOCK
        size += padding
        length = size.to_bytes(_LENGTH, "big")
        packet = b"".join((bytes((padding, _MSG_CHANNEL_DATA)), header, data, os.urandom(padding)))
        connection._send(length + self._cipher.encrypt(length, packet))
        connection._send_seq = (connection._send_seq + 1) & 0xFFFFFFFF
        connection._rekey_bytes_sent += size


class _Receiver:
    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._begin = connection._recv_pkthdr  # asyncssh's own method: takes a packet's first block off the buffer
        self._cipher = _Cipher()

    def receive(self) -> bool:
        """Pass packets with data to their channels, up to the next packet that asyncssh itself must handle.

        Return False if more bytes of the next packet must arrive; True if asyncssh has taken the packet's beginning,
        and goes on with the rest. Raises ProtocolError if a packet is too large, or a channel cannot read its packet.
        """
        connection = self._connection
        while True:
            buffer = connection._inpbuf
            if not isinstance(buffer, _InputBuffer) or not self._may_receive():
                return bool(self._begin())
            if len(buffer) < _LENGTH + _BLOCK:
                return False
            length = bytes(buffer.view(0, _LENGTH))
            size = int.from_bytes(length, "big")
            if size > connection._max_recv_pktlen:
                return bool(self._begin())
            if len(buffer) < _LENGTH + size + _TAG:
                return False
            if not self._take_data(buffer, length, _LENGTH + size + _TAG):
                return bool(self._begin())

    def _may_receive(self) -> bool:
        connection = self._connection
        return bool(
            connection._auth_complete
            and connection._decompressor is None
            and connection._transport is not None
            and self._cipher.take(connection._recv_encryption)
        )

    def _take_data(self, buffer: ReadBuffer, length: bytes, end: int) -> bool:
        """Give the first packet in ``buffer`` to its channel, and return True.

        Return False, and leave the packet in ``buffer``, if it is no valid packet with data, or its channel is not
        known. ``length``: the packet's length field; ``end``: where the packet ends. Raises ProtocolError if the
        channel cannot read the packet.
        """
        connection = self._connection
        try:
            packet = self._cipher.decrypt(length, buffer.view(_LENGTH, end))
        except InvalidTag:
            return False  # asyncssh finds the same fault, and ends the connection
        if len(packet) < _HEADER or packet[1] != _MSG_CHANNEL_DATA or len(packet) < _HEADER + packet[0]:
            return False
        channel = connection._channels.get(int.from_bytes(packet[2:_HEADER], "big"))
        if channel is None:
            return False
        buffer.skip(end)
        self._cipher.count()
        try:
            channel.process_packet(_MSG_CHANNEL_DATA, connection._recv_seq, _DataPacket(packet))
        except PacketDecodeError as error:
            raise ProtocolError(str(error)) from None
        _join(channel)
        connection._finish_recv_packet(_MSG_CHANNEL_DATA, connection._recv_seq)
        return True


def _join(channel: Any) -> None:
    """Join the last two pieces that wait in ``channel`` if they are small: each piece needs 60 bytes of its own."""
    waiting: list[tuple[bytes, object]] = getattr(channel, "_recv_buf", [])
    if len(waiting) > 1:
        (before, kind), (last, last_kind) = waiting[-2:]
        if kind is last_kind is None and len(before) + len(last) <= _JOINED:
            waiting[-2:] = [(before + last, None)]


class _DataPacket(SSHPacket):
    """A packet with data; the first read begins after the channel's number. The content is not copied."""

    def __init__(self, packet: bytes) -> None:
        super().__init__(packet)
        self._idx, self._len = _HEADER, len(packet) - packet[0]
