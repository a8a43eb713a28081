"""Listening sockets: opened once, one for each worker slot, with an error that an operator understands.

The first socket of an address is bound without SO_REUSEPORT, so that an address in use is noticed (with the option
set, a second instance would bind silently and take a share of the traffic). Then it gets the option, which the others
of the address are bound with; the kernel spreads new connections over all of them. Unix sockets have one queue that all
workers share.
"""

import errno
import os
import socket
import stat

from fastgate.config import GatewayConfig

TCPAddress = tuple[str, int]


class ListenError(Exception):
    """An address cannot be listened on; the message is one line."""


class Listening:
    """One address that is listened on.

    ``sockets`` holds one socket a worker slot, or a single one that all slots share; ``inode`` is the file of a Unix
    socket that was made here.
    """

    __slots__ = ("address", "inode", "sockets")

    def __init__(
        self, address: TCPAddress | str, sockets: list[socket.socket], inode: tuple[int, int] | None = None
    ) -> None:
        self.address = address
        self.sockets = sockets
        self.inode = inode

    @property
    def shared(self) -> bool:
        """True when there is one queue for all slots: a Unix socket."""
        return isinstance(self.address, str)

    def socket_of(self, slot: int) -> socket.socket:
        """The socket that the worker of this slot accepts from."""
        return self.sockets[0 if self.shared else slot]

    def close(self) -> None:
        """Closes the sockets of this process, and removes the file of a Unix socket if it is still the one we made."""
        for each in self.sockets:
            each.close()
        self.sockets.clear()
        if self.inode is not None and isinstance(self.address, str):
            remove_socket_file(self.address, self.inode)
            self.inode = None


def open_listening(config: GatewayConfig, slots: int) -> list[Listening]:
    """Opens all addresses of a configuration, for so many slots. Raises ListenError; then nothing stays open."""
    opened: list[Listening] = []
    gateway = config.gateway
    try:
        for address in gateway.listen_addresses():
            if address.unix:
                opened.append(_open_unix(address.unix, gateway.backlog, gateway.socket_mode))
            else:
                opened.extend(_open_tcp(address.host, address.port, gateway.backlog, slots))
    except BaseException:
        for each in opened:
            each.close()
        raise
    return opened


def url_of(address: TCPAddress | str, scheme: str) -> str:
    """The address as one would type it: ``http://127.0.0.1:8080``, ``http://[::1]:8080``, ``unix:/run/x.sock``."""
    if isinstance(address, str):
        return f"unix:{address}"
    host, port = address
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _open_tcp(host: str, port: int, backlog: int, slots: int) -> list[Listening]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise ListenError(f"cannot listen on {_spell(host, port)}: {error.strerror or error}") from None
    opened: list[Listening] = []
    missing: OSError | None = None
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            try:
                opened.append(_open_slots(family, address, backlog, slots))
            except OSError as error:
                # A name may stand for an address that this machine does not have ("localhost" without IPv6).
                if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT) or len(found) == 1:
                    raise
                missing = error
            if port == 0:
                break
        if not opened and missing is not None:
            raise missing
    except OSError as error:
        for each in opened:
            each.close()
        raise ListenError(f"cannot listen on {_spell(host, port)}: {_reason(error)}") from None
    return opened


def _open_slots(family: int, address: tuple[object, ...], backlog: int, slots: int) -> Listening:
    sockets: list[socket.socket] = []
    try:
        for _ in range(slots):
            each = socket.socket(family, socket.SOCK_STREAM)
            sockets.append(each)
            each.setblocking(False)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                each.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            if len(sockets) == 1:
                each.bind(address)
                address = each.getsockname()
            if slots > 1:
                each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if len(sockets) > 1:
                each.bind(address)
            each.listen(backlog)
    except BaseException:
        for each in sockets:
            each.close()
        raise
    return Listening((str(address[0]), int(str(address[1]))), sockets)


def _open_unix(path: str, backlog: int, mode: int) -> Listening:
    try:
        _remove_stale(path)
        each = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            each.setblocking(False)
            mask = os.umask(0o777 & ~mode)
            try:
                each.bind(path)
            finally:
                os.umask(mask)
            os.chmod(path, mode)
            each.listen(backlog)
            status = os.stat(path)
        except BaseException:
            each.close()
            raise
    except OSError as error:
        raise ListenError(f"cannot listen on unix:{path}: {_reason(error)}") from None
    return Listening(path, [each], (status.st_dev, status.st_ino))


def _remove_stale(path: str) -> None:
    """Removes a socket file that nobody listens on any more; a live one, or any other file, is an error."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise OSError(errno.EEXIST, "a file of that name exists and is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except (ConnectionRefusedError, FileNotFoundError):
            remove_socket_file(path, (status.st_dev, status.st_ino))
            return
        except BlockingIOError:
            pass  # its queue is full: somebody is there
    raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))


def remove_socket_file(path: str, inode: tuple[int, int]) -> None:
    """Removes the file if it is this one; a successor's is left alone."""
    try:
        status = os.lstat(path)
        if (status.st_dev, status.st_ino) == inode:
            os.unlink(path)
    except OSError:
        pass


def _spell(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the address is in use; is another instance running?"
    if error.errno == errno.EACCES:
        return "permission denied; a port below 1024 needs root or CAP_NET_BIND_SERVICE"
    if error.errno == errno.EADDRNOTAVAIL:
        return "no interface of this machine has that address"
    return error.strerror or str(error)
