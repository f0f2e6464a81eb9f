"""Where a simulated terminal listens."""


def host_and_port(address: str, *, any_port: bool = False) -> tuple[str, int]:
    """Return both parts of ``host:port``.

    Parameters
    ----------
    any_port : port 0 is one too, for whoever listens

    Raises
    ------
    ValueError : when it is none

    Examples
    --------
    >>> host_and_port("127.0.0.1:18812")
    ('127.0.0.1', 18812)
    """
    host, _, port = address.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or not (0 if any_port else 1) <= int(port) < 65_536:
        raise ValueError(f"'{address}' is no address of a simulated terminal: host:port is, such as 127.0.0.1:18812")
    return host, int(port)
