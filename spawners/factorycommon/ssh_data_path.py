"""Makes asyncssh send and receive the data of channels with less work for each packet.

OpenSSH sends and accepts at most 32 KiB in a packet, so a large transfer is thousands of packets. For each of them
asyncssh makes a new cipher object, writes a line for the log, and copies the data about ten times. Here, packets with
data are encrypted, decrypted and copied as seldom as possible. asyncssh itself handles all other packets, and also
those with data while keys are exchanged, with a cipher other than AES-GCM, or with compression.

asyncssh offers no interface for this, so this module uses its private attributes. A release of asyncssh that lacks one
of them handles all packets itself. ``tests/unit/test_ssh_data_path.py`` fails if the installed release lacks one, or
uses it in another way; ``pyproject.toml`` allows no later releases than those that were tested.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Any

from asyncssh import ProtocolError
from asyncssh.encryption import GCMEncryption
from asyncssh.packet import PacketDecodeError, SSHPacket
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from factorycommon.read_buffer import ReadBuffer

_MSG_IGNORE, _MSG_CHANNEL_DATA = 2, 94  # RFC 4253, 12; RFC 4254, 9
_LENGTH, _BLOCK, _TAG = 4, 16, 16  # bytes of a packet's length field, of a block of AES, and of a tag of GCM
_LEAST_PADDING = 4  # bytes; RFC 4253, 6
# attributes of an SSHConnection that this module uses
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
    "send_packet",
)
_HEADER = 6  # bytes of a decrypted packet before the channel's data: padding's length, type, channel's number


def use_data_path(connection: Any) -> None:
    """Make ``connection``, a client's or a server's, send and receive the data of its channels with less work.

    Besides, the connection no longer sends an empty message before each message. Empty messages are a defence against
    an attack on CBC ciphers (RFC 4251, 9.3.1); link and doors offer no CBC ciphers, and OpenSSH does not send empty
    messages either.
    """
    usable = all(hasattr(connection, name) for name in _NEEDED)
    connection.send_packet = _Sender(connection, usable).send_packet
    if usable:
        connection._inpbuf = _InputBuffer(bytes(connection._inpbuf))
        connection._recv_pkthdr = _Receiver(connection).receive


class _InputBuffer(ReadBuffer):
    """A ReadBuffer in place of the ``bytes`` object in which asyncssh keeps what a connection has received."""

    def __iadd__(self, data: bytes) -> _InputBuffer:
        self.append(data)
        return self

    def __getitem__(self, part: slice) -> Any:
        """Return bytes for a slice with an end; for a slice without, cut off the bytes before it and return ``self``.

        asyncssh uses slices without an end only to assign them to the buffer itself.
        """
        if part.stop is None:
            self.skip(part.start)
            return self
        return bytes(self.view(part.start or 0, part.stop))

    def find(self, what: bytes, start: int, stop: int) -> int:
        """Return where ``what`` begins between ``start`` and ``stop``, as ``bytes.find`` does."""
        return bytes(self.view(0, stop)).find(what, start)


class _Cipher:
    """One direction's cipher, as long as asyncssh uses the same one: keys change after 1 GB, and after an hour."""

    def __init__(self) -> None:
        self._of: object = None
        self._aead: AESGCM
        self._state: Any = None  # asyncssh's object, which counts the packets

    def take(self, encryption: object) -> bool:
        """Use the cipher of ``encryption``, asyncssh's object; return False if that is not AES-GCM."""
        if encryption is not self._of:
            if not isinstance(encryption, GCMEncryption):
                return False
            self._of, self._state = encryption, encryption._cipher
            self._aead = AESGCM(self._state._key)
        return True

    def encrypt(self, length: bytes, packet: bytes) -> bytes:
        """Return ``packet``, encrypted, with its tag; count it."""
        encrypted = self._aead.encrypt(self._state._iv, packet, length)
        self._state._update_iv()
        return encrypted

    def decrypt(self, length: bytes, packet: memoryview) -> bytes:
        """Return ``packet``, which has a tag, decrypted; do not count it. Raises InvalidTag."""
        return self._aead.decrypt(self._state._iv, packet, length)

    def count(self) -> None:
        """Count a packet that was decrypted."""
        self._state._update_iv()


class _Sender:
    def __init__(self, connection: Any, usable: bool) -> None:
        self._connection = connection
        self._usable = usable  # False: asyncssh itself sends all packets
        self._send = connection.send_packet  # asyncssh's own method
        self._cipher = _Cipher()

    def send_packet(self, pkttype: int, *args: bytes, handler: Any = None) -> None:
        """Send a packet of the type ``pkttype``, whose content is ``args``; send no empty messages."""
        if pkttype == _MSG_CHANNEL_DATA and self._may_send():
            self._send_data(args)
        elif pkttype != _MSG_IGNORE:
            self._send(pkttype, *args, handler=handler)

    def _may_send(self) -> bool:
        connection = self._connection
        return bool(
            self._usable
            and connection._kex_complete
            and connection._auth_complete
            and connection._compressor is None
            and connection._rekey_bytes_sent < connection._rekey_bytes
            and not (connection._rekey_seconds and time.monotonic() >= connection._rekey_time)
            and self._cipher.take(connection._send_encryption)
        )

    def _send_data(self, content: Sequence[bytes]) -> None:
        connection = self._connection
        size = 2 + sum(map(len, content))
        padding = -size % _BLOCK
        if padding < _LEAST_PADDING:
            padding += _BLOCK
        size += padding
        length = size.to_bytes(_LENGTH, "big")
        packet = b"".join((bytes((padding, _MSG_CHANNEL_DATA)), *content, os.urandom(padding)))
        connection._send(length + self._cipher.encrypt(length, packet))
        connection._send_seq = (connection._send_seq + 1) & 0xFFFFFFFF
        connection._rekey_bytes_sent += size


class _Receiver:
    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._begin = connection._recv_pkthdr  # asyncssh's own method: takes a packet's first block off the buffer
        self._cipher = _Cipher()

    def receive(self) -> bool:
        """Take packets with data off the buffer; leave the next other packet to asyncssh.

        Returns False if asyncssh should wait for more bytes.
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
        """Give the first packet in ``buffer`` to its channel; return False, and leave it, if it is not such a packet.

        ``length``: the packet's length field; ``end``: where the packet ends.
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
        connection._finish_recv_packet(_MSG_CHANNEL_DATA, connection._recv_seq)
        return True


class _DataPacket(SSHPacket):
    """A packet with data, read up to its channel's number, without a copy of its content."""

    def __init__(self, packet: bytes) -> None:
        super().__init__(packet)
        self._idx, self._len = _HEADER, len(packet) - packet[0]
