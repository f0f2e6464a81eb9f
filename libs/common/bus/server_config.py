"""The nats-server's configuration: one text for the embedded server and for the compose file's."""

from collections.abc import Mapping

from libs.common.bus.streams import (
    MODEL_BUCKET,
    READS,
    SERVICES,
    STREAMS,
    USERS,
    WRITES,
    Delivery,
    delivery_of,
    stream_of,
)
from libs.common.codec import MAX_MESSAGE_BYTES


def render_server_config(
    *,
    listen: str,
    store_dir: str,
    passwords: Mapping[str, str],
    max_store_bytes: int,
    monitor: str = "",
) -> str:
    """Return the text of ``nats.conf``.

    Parameters
    ----------
    listen : host:port
    store_dir : where JetStream keeps its files
    passwords : user -> password, or ``$VARIABLE`` to have the server read it from its environment
    max_store_bytes : most bytes JetStream may use on disk
    monitor : host:port of the HTTP monitor, empty for none
    """
    users = "\n".join(_user(user, passwords[user]) for user in USERS if user != "system")
    lines = [
        f"listen: {_quoted(listen)}",
        'server_name: "tickwire"',
        f"max_payload: {MAX_MESSAGE_BYTES}",
        "max_connections: 256",
        f"http: {_quoted(monitor)}" if monitor else "",
        "jetstream {",
        f"  store_dir: {_quoted(store_dir)}",
        "  max_memory_store: 268435456",
        f"  max_file_store: {max_store_bytes}",
        "  # Every write to a stream that is not declared async is on disk before it is acknowledged.",
        "  sync_interval: always",
        "}",
        "accounts {",
        "  TICKWIRE {",
        "    jetstream: enabled",
        "    users: [",
        users,
        "    ]",
        "  }",
        f"  SYS {{ users: [ {{ user: system, password: {_secret(passwords['system'])} }} ] }}",
        "}",
        "system_account: SYS",
        "",
    ]
    return "\n".join(line for line in lines if line)+ "\n"


def _user(user: str, password: str) -> str:
    if user == "admin":
        return f"      {{ user: admin, password: {_secret(password)} }}"
    publish, subscribe = permissions_of(user)
    return (
        f"      {{ user: {user}, password: {_secret(password)}, permissions: {{\n"
        f"        publish: {{ allow: [{_list(publish)}] }}\n"
        f"        subscribe: {{ allow: [{_list(subscribe)}] }}\n"
        "        allow_responses: true\n"
        "      } }"
    )


def permissions_of(user: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return what a user may publish and subscribe to, JetStream's own subjects included."""
    publish = list(WRITES[user])
    subscribe = [f"_INBOX.{user}.>"]
    if user == "ea":
        # It asks streams for single messages, by subject; it makes no consumers and announces nothing.
        publish += [f"$JS.API.DIRECT.GET.{stream}.>" for stream in ("MODELS", f"OBJ_{MODEL_BUCKET}")]
        publish += [f"$JS.API.DIRECT.GET.OBJ_{MODEL_BUCKET}", "alerts.*", "control.halt"]
        return tuple(publish), (*subscribe, *READS[user])
    if user in SERVICES:
        publish += [f"health.{user}", f"health.watermark.{user}", "alerts.*", f"deadletter.{user}", "control.halt"]
        subscribe += ["health.watermark.*", "$SRV.>"]
    else:
        publish += ["$SRV.PING", "$SRV.PING.>", "$SRV.INFO", "$SRV.INFO.>", "$SRV.STATS", "$SRV.STATS.>"]
    subscribe += [pattern for pattern in READS[user]]
    for stream in _streams_read_by(user):
        publish += [
            f"$JS.API.STREAM.INFO.{stream}",
            f"$JS.API.STREAM.MSG.GET.{stream}",
            f"$JS.API.DIRECT.GET.{stream}",
            f"$JS.API.DIRECT.GET.{stream}.>",
            f"$JS.API.CONSUMER.CREATE.{stream}.>",
            f"$JS.API.CONSUMER.INFO.{stream}.>",
            f"$JS.API.CONSUMER.DELETE.{stream}.>",
            f"$JS.API.CONSUMER.MSG.NEXT.{stream}.>",
        ]
    if user in ("inference", "trainer"):
        publish += ["$JS.FC.>", "$JS.API.STREAM.NAMES", f"$JS.API.CONSUMER.CREATE.OBJ_{MODEL_BUCKET}"]
    if user == "trainer":
        publish += [f"$O.{MODEL_BUCKET}.>", f"$JS.API.STREAM.PURGE.OBJ_{MODEL_BUCKET}"]
    return tuple(publish), tuple(subscribe)


def _streams_read_by(user: str) -> tuple[str, ...]:
    found = []
    for pattern in READS[user]:
        if pattern == ">":
            return tuple(spec.name for spec in STREAMS)
        spec = stream_of(pattern)
        if spec is not None and delivery_of(pattern) is not Delivery.EPHEMERAL and spec.name not in found:
            found.append(spec.name)
    if user in ("inference", "trainer"):
        found.append(f"OBJ_{MODEL_BUCKET}")
    return tuple(found)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _secret(password: str) -> str:
    return password if password.startswith("$") else _quoted(password)


def _list(patterns: tuple[str, ...]) -> str:
    return ", ".join(_quoted(pattern) for pattern in patterns)
