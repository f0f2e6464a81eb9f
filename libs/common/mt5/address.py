"""Where a simulated terminal listens."""


def host_and_port(address: str) -> tuple[str, int]:
    """Return both parts of ``host:port``.

    Raises
    ------
    ValueError : when it is none

    Examples
    --------
    >>> host_and_port("127.0.0.1:18812")
    ('127.0.0.1', 18812)
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65_536:
        raise ValueError(f"'{address}' is no address of a simulated terminal: host:port is, such as 127.0.0.1:18812")
    return host, int(port)
