"""Nats.mqh, compiled: the client alone, against a real nats-server and against a wire that lies."""

import asyncio
import contextlib
import datetime
import ipaddress
import json
import socket
import subprocess
import time

import nats
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from libs.common.bus.server import free_port, server_program
from tests.mql.bus_probe import Probe
from tests.mql.harness.build import has_tls


@pytest.fixture
async def server(tmp_path):
    """Return a function that starts a nats-server with a configuration; it gives the port."""
    started = []

    async def start(text="", port=0):
        port = port or free_port()
        config = tmp_path / f"nats{len(started)}.conf"
        config.write_text(f'listen: "127.0.0.1:{port}"\n{text}\n')
        process = subprocess.Popen(
            [server_program(), "-c", str(config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        started.append(process)
        for _ in range(200):
            with contextlib.suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                break
            await asyncio.sleep(0.02)
        return port

    start.processes = started
    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
async def probe(ea):
    """Return a function that starts a probe connected to a port."""
    made = []

    async def start(port, *, wait=True, **options):
        inputs = {"InpPort": port, **options.pop("inputs", {})}
        program = await asyncio.to_thread(lambda: ea("BusProbe.mq5", inputs=inputs, **options))
        made.append(Probe(program))
        if wait:
            await made[-1].until_ready()
        return made[-1]

    yield start
    for one in made:
        await asyncio.to_thread(one.end)


async def said(probe, key, timeout_s=5.0):
    return await probe.wait(lambda m: key in m, timeout_s)


async def test_publish_subscribe_and_wildcards_with_utf8_and_zero_length(server, probe):
    port = await server()
    one = await probe(port)
    client = await nats.connect(f"nats://127.0.0.1:{port}")
    heard = await client.subscribe("out.>")
    one.do("subscribe", subject="in.*.é")
    await said(one, "subscribed")
    await asyncio.sleep(0.05)
    await client.publish("in.a.é", "grüße 😀".encode())
    await client.publish("in.b.é", b"")
    await client.flush()
    first, second = await said(one, "plain"), await said(one, "plain")
    assert (first["subject"], first["text"], first["size"]) == ("in.a.é", "grüße 😀", 12)
    assert (second["subject"], second["text"], second["size"]) == ("in.b.é", "", 0)
    one.do("core", subject="out.x.y", text="antwort ✓")
    message = await heard.next_msg(2)
    assert (message.subject, message.data.decode()) == ("out.x.y", "antwort ✓")
    await client.close()


async def test_headers_travel_both_ways_and_a_line_break_cannot_be_smuggled_in(server, probe):
    port = await server()
    one = await probe(port)
    client = await nats.connect(f"nats://127.0.0.1:{port}")
    heard = await client.subscribe("out")
    one.do("subscribe", subject="in")
    await said(one, "subscribed")
    await asyncio.sleep(0.05)
    await client.publish("in", b"x", headers={"Nats-Msg-Id": "7", "X-Name": "é"})
    got = await said(one, "plain")
    assert got["headers"].split("\r\n")[:2] == ["Nats-Msg-Id: 7", "X-Name: é"]
    one.do("core", subject="out", text="y", headers={"A": "1\r\nEvil: 2", "B": "ü"})
    message = await heard.next_msg(2)
    assert message.headers == {"A": "1  Evil: 2", "B": "ü"}
    await client.close()


async def test_request_and_reply_timeout_and_nobody_there(server, probe):
    port = await server()
    one = await probe(port, inputs={"InpUser": ""})
    client = await nats.connect(f"nats://127.0.0.1:{port}")

    async def answer(message):
        assert message.reply.startswith("_INBOX.")
        await message.respond(b"<" + message.data + b">")

    await client.subscribe("ask.me", cb=answer)
    await client.subscribe("ask.silence")
    await client.flush()
    for subject, outcome, text in (
        ("ask.me", "NATS_REPLY_ARRIVED", "<?>"),
        ("ask.silence", "NATS_REPLY_TIMEOUT", ""),
        ("ask.nobody", "NATS_REPLY_NOBODY", ""),
    ):
        one.do("request", subject=subject, text="?", timeout_ms=300)
        got = await said(one, "answer")
        assert (got["error"], got["text"]) == (outcome, text)
    one.do("echo")
    one.do("subscribe", subject="echo.*", queue="workers")
    await said(one, "subscribed")
    await asyncio.sleep(0.05)
    assert (await client.request("echo.me", b"back", timeout=2)).data == b"back"
    await client.close()


async def test_a_request_under_way_when_the_connection_breaks_is_told_as_lost(server, probe):
    port = await server()
    one = await probe(port)
    client = await nats.connect(f"nats://127.0.0.1:{port}")
    await client.subscribe("ask")
    await client.flush()
    one.do("request", subject="ask", text="?", timeout_ms=20_000)
    await said(one, "requested")
    one.expert.fault(drop_after_reads=1)
    await client.publish("nothing", b"")
    one.do("subscribe", subject="wake")
    await said(one, "subscribed")
    await asyncio.sleep(0.05)
    await client.publish("wake", b"")
    assert (await said(one, "answer"))["error"] == "NATS_REPLY_LOST"
    await client.close()


async def test_a_subscription_ends_after_its_number_of_messages_also_across_a_reconnect(server, probe):
    port = await server()
    one = await probe(port)
    client = await nats.connect(f"nats://127.0.0.1:{port}")
    one.do("subscribe", subject="few", max=5)
    one.do("subscribe", subject="all")
    await said(one, "subscribed")
    await said(one, "subscribed")
    await asyncio.sleep(0.05)
    for n in range(3):
        await client.publish("few", str(n).encode())
    await client.flush()
    for n in range(3):
        assert (await said(one, "plain"))["text"] == str(n)
    one.expert.fault(drop_after_writes=1)
    one.do("core", subject="x", text="")
    await one.wait(lambda m: m.get("ready") is False)
    await one.wait(lambda m: m.get("ready") is True)
    for n in range(3, 9):
        await client.publish("few", str(n).encode())
    await client.publish("all", b"end")
    texts = []
    while not texts or texts[-1] != "end":
        texts.append((await said(one, "plain"))["text"])
    assert texts == ["3", "4", "end"]
    await client.close()


async def test_user_and_password_token_and_a_refusal_by_name(server, probe):
    by_user = await server('authorization { users: [ { user: ea, password: "p\\"w é" } ] }')
    by_token = await server('authorization { token: "s3cret" }')
    assert (await (await probe(by_user, inputs={"InpUser": "ea", "InpPassword": 'p"w é'})).status()).is_ready
    assert (await (await probe(by_token, inputs={"InpToken": "s3cret"})).status()).is_ready
    wrong = await probe(by_user, wait=False, inputs={"InpUser": "ea", "InpPassword": "wrong"})
    async with asyncio.timeout(5):
        while not (await wrong.status()).refused_user:
            await asyncio.sleep(0.02)
    status = await wrong.status()
    assert not status.is_ready
    assert status.connections == 0
    assert "Authorization Violation" in status.last_error or status.refused_user


async def test_a_refused_subject_leaves_the_connection_open_and_is_counted(server, probe):
    port = await server(
        "authorization { users: [ { user: ea, password: p, "
        'permissions: { publish: "ok.>", subscribe: ["ok.>", "_INBOX.>"] } } ] }'
    )
    one = await probe(port, inputs={"InpUser": "ea", "InpPassword": "p"})
    one.do("core", subject="forbidden", text="x")
    one.do("subscribe", subject="forbidden.*")
    async with asyncio.timeout(5):
        while (await one.status()).permission_errors < 2:
            await asyncio.sleep(0.02)
    status = await one.status()
    assert status.is_ready
    assert status.connections == 1
    assert "Permissions Violation" in status.last_error


async def test_a_message_larger_than_the_server_takes_is_refused_here(server, probe):
    one = await probe(await server("max_payload: 2000"))
    assert (await one.status()).max_payload == 2000
    one.do("core", subject="a", text="x" * 2000)
    assert (await said(one, "published"))["published"]
    one.do("core", subject="a", text="x" * 2001)
    refused = await said(one, "published")
    assert not refused["published"]
    assert "2001 bytes; the server takes 2000" in refused["error"]
    assert (await one.status()).connections == 1


async def test_what_is_no_subject_is_never_sent(server, probe):
    one = await probe(await server())
    for subject in ("", "a b", "a..b", ".a", "a.", "a\r\nPUB x 0", "a.*", "a.>", ">"):
        one.do("core", subject=subject, text="x")
        refused = await said(one, "published")
        assert not refused["published"], subject
        assert "is no subject" in refused["error"]
    assert (await one.status()).connections == 1


@pytest.mark.parametrize(("rule", "kept"), [(1, range(11, 16)), (2, range(1, 6))], ids=["drop oldest", "drop newest"])
async def test_a_full_queue_drops_by_its_rule_and_counts(server, probe, rule, kept):
    port = await server()
    one = await probe(port, inputs={"InpQueue": 5, "InpOverflow": rule, "InpPause": 1})
    client = await nats.connect(f"nats://127.0.0.1:{port}")
    one.do("subscribe", subject="n")
    await said(one, "subscribed")
    await asyncio.sleep(0.05)
    for n in range(1, 16):
        await client.publish("n", str(n).encode())
    async with asyncio.timeout(5):
        while (await one.status()).dropped < 10:
            await asyncio.sleep(0.02)
    one.do("take")
    assert [(await said(one, "plain"))["text"] for _ in kept] == [str(n) for n in kept]
    await client.close()


async def test_a_full_queue_may_hold_reading_so_that_nothing_is_lost(server, probe):
    port = await server()
    one = await probe(port, inputs={"InpQueue": 5, "InpPause": 1})
    client = await nats.connect(f"nats://127.0.0.1:{port}")
    one.do("subscribe", subject="n")
    await said(one, "subscribed")
    await asyncio.sleep(0.05)
    for n in range(1, 101):
        await client.publish("n", str(n).encode())
    await client.flush()
    await asyncio.sleep(0.1)
    status = await one.status()
    assert (status.waiting, status.dropped) == (5, 0)
    texts = []
    async with asyncio.timeout(5):
        while len(texts) < 100:
            one.do("take")
            with contextlib.suppress(TimeoutError):
                while True:
                    texts.append((await said(one, "plain", 0.02))["text"])
    assert texts == [str(n) for n in range(1, 101)]
    await client.close()


async def test_a_full_buffer_of_unsent_bytes_refuses_and_says_so(probe):
    """A server that greets and then takes nothing: the buffer fills, publishing is refused, nobody waits."""
    listener = socket.create_server(("127.0.0.1", 0))
    one = await probe(listener.getsockname()[1], wait=False, inputs={"InpOutBytes": 100_000, "InpPingMs": 60_000})
    connection = await asyncio.to_thread(_greet, listener)
    await one.until_ready()
    refused, began = None, time.monotonic()
    one.do("core", subject="a", text="x" * 1_000, count=20_000)
    refused = await said(one, "published")
    assert not refused["published"]
    assert "buffer of unsent bytes is full" in refused["error"]
    assert time.monotonic() - began < 5
    connection.close()
    listener.close()


def _greet(listener):
    return _greet_and_hear(listener)[0]


def _greet_and_hear(listener):
    """Accept one connection, greet it, answer its ping; return it and what it said."""
    connection, _ = listener.accept()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.sendall(b'INFO {"server_id":"x","version":"2.15.0","max_payload":1048576,"headers":true}\r\n')
    heard = b""
    while b"PING\r\n" not in heard:
        heard += connection.recv(4096)
    connection.sendall(b"PONG\r\n")
    return connection, heard


async def test_a_server_that_stops_answering_pings_is_left(probe):
    listener = socket.create_server(("127.0.0.1", 0))
    one = await probe(listener.getsockname()[1], wait=False, inputs={"InpPingMs": 50})
    connection = await asyncio.to_thread(_greet, listener)
    await one.until_ready()
    lost = await one.wait(lambda m: m.get("ready") is False)
    assert "does not answer pings" in lost["error"]
    again = await asyncio.to_thread(_greet, listener)
    await one.wait(lambda m: m.get("ready") is True)
    connection.close()
    again.close()
    listener.close()


class _Wire:
    """A server side written byte by byte."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    async def greet(self):
        return await asyncio.to_thread(_greet, self.listener)


_RUBBISH = (
    b"HTTP/1.1 400 Bad Request\r\n\r\n", b"MSG a\r\n", b"MSG a 1 x\r\n", b"MSG a 1 99999999999\r\n", b"MSG a 1 2\r\nabc\r\n",
    b"HMSG a 1 9 3\r\nabc\r\n", b"HMSG a 1 5 5\r\nabcde\r\n", b"x" * 70_000, b"MSG a 1 -5\r\n", b"\x00\x01\x02\r\n",
    b"-ERR 'Stale Connection'\r\n",
)  # fmt: skip


async def test_whatever_is_no_nats_ends_the_connection_and_only_that(probe):
    wire = _Wire()
    one = await probe(wire.port, wait=False, sanitized=True)
    connection = await wire.greet()
    await one.until_ready()
    for rubbish in _RUBBISH:
        connection.sendall(rubbish)
        again = await wire.greet()
        await one.wait(lambda m: m.get("ready") is False)
        await one.wait(lambda m: m.get("ready") is True)
        connection.close()
        connection = again
    connection.close()
    wire.listener.close()


async def test_a_connection_lost_in_mid_message_begins_anew_and_says_again_what_it_hears(probe):
    """Half a message of the dead connection must not swallow the first words of the next."""
    wire = _Wire()
    one = await probe(wire.port, wait=False)
    connection = await wire.greet()
    await one.until_ready()
    one.do("subscribe", subject="a.b", max=5)
    sid = (await said(one, "subscribed"))["subscribed"]
    connection.sendall(f"MSG a.b {sid} 1\r\nx\r\nMSG a.b {sid} 1\r\ny\r\nMSG a.b {sid} 500\r\nhalf of it".encode())
    assert [(await said(one, "plain"))["text"] for _ in range(2)] == ["x", "y"]
    connection.close()
    again, heard = await asyncio.to_thread(_greet_and_hear, wire.listener)
    await one.wait(lambda m: m.get("ready") is False)
    await one.wait(lambda m: m.get("ready") is True)
    assert heard.split(b"\r\n")[1:] == [f"SUB a.b {sid}".encode(), f"UNSUB {sid} 3".encode(), b"PING", b""]
    again.sendall(f"MSG a.b {sid} 3\r\nabc\r\n".encode())
    assert (await said(one, "plain"))["text"] == "abc"
    again.close()
    wire.listener.close()


async def test_operations_in_any_cut_and_case_are_understood(probe):
    wire = _Wire()
    one = await probe(wire.port, wait=False, sanitized=True)
    connection = await wire.greet()
    await one.until_ready()
    one.do("subscribe", subject="a.b")
    sid = (await said(one, "subscribed"))["subscribed"]
    stream = (
        f"msg  a.b\t{sid}   3\r\nabc\r\n+OK\r\nMSG a.b {sid} back 0\r\n\r\n"
        f"hmsg a.b {sid} 22 25\r\nNATS/1.0\r\nA: \xe4\xb8\xad b\r\n\r\n"
        f"xyz\r\nPING\r\nMSG a.b 999 1\r\nq\r\nMSG a.b {sid} 2\r\n\r\n\r\n"
    ).encode("latin-1")
    for at in range(len(stream)):
        connection.sendall(stream[at : at + 1])
        if at % 7 == 0:
            await asyncio.sleep(0.001)
    got = [await said(one, "plain") for _ in range(4)]
    assert [item["text"] for item in got] == ["abc", "", "xyz", "\r\n"]
    assert [item["reply"] for item in got] == ["", "back", "", ""]
    assert got[2]["headers"] == "A: 中 b\r\n\r\n"
    connection.settimeout(2)
    heard = b""
    while b"PONG\r\n" not in heard:
        heard += connection.recv(4096)
    connection.close()
    wire.listener.close()


async def test_it_says_who_it_is_in_json_that_can_be_read(probe):
    wire = _Wire()
    await probe(wire.port, wait=False, inputs={"InpUser": 'e"a', "InpPassword": "p\\w"})

    def listen():
        connection, _ = wire.listener.accept()
        connection.sendall(b'INFO {"max_payload":1000,"headers":true}\r\n')
        heard = b""
        while b"PING\r\n" not in heard:
            heard += connection.recv(4096)
        return connection, heard

    connection, heard = await asyncio.to_thread(listen)
    line = heard.split(b"\r\n")[0]
    assert line.startswith(b"CONNECT ")
    options = json.loads(line[8:])
    assert (options["user"], options["pass"], options["name"]) == ('e"a', "p\\w", 'probe "quoted" é')
    assert options["headers"] is True
    assert options["no_responders"] is True
    assert "auth_token" not in options
    connection.close()
    wire.listener.close()


async def test_an_address_that_is_not_allowed_is_named_with_the_remedy(server, probe):
    port = await server()
    one = await probe(port, wait=False, allowed="10.0.0.1")
    async with asyncio.timeout(5):
        while "not allowed" not in (await one.status()).last_error:
            await asyncio.sleep(0.02)
    assert "Allow WebRequest" in (await one.status()).last_error


async def test_back_off_grows_to_its_limit_and_ends_with_a_connection(server, probe):
    """With its own clock frozen and moved by hand the attempts can be counted."""
    port = free_port()
    one = await probe(port, wait=False, clock_ms=1_700_000_000_000)
    one._stop.set()
    await asyncio.to_thread(one._thread.join)
    program, now, attempts = one.expert, 1_700_000_000_000, []
    for _ in range(600):
        now += 25
        program.clock(now)
        program.timer()
        program.prints.clear()
        program.chart_event(1, sparam='{"do":"status"}')
        state = json.loads(program.prints[-1])
        attempts.append("cannot connect" in state["last_error"])
    assert all(attempts)
    await server(port=port)
    for _ in range(400):
        now += 25
        program.clock(now)
        program.timer()
        await asyncio.sleep(0.001)
        program.prints.clear()
        program.chart_event(1, sparam='{"do":"status"}')
        if json.loads(program.prints[-1])["is_ready"]:
            break
    else:
        pytest.fail("not connected although the server is there")
    program.deinit()


async def test_a_message_id_makes_a_repeated_publication_harmless(server, probe, tmp_path):
    port = await server(f'jetstream {{ store_dir: "{tmp_path}/js" }}')
    one = await probe(port)
    client = await nats.connect(f"nats://127.0.0.1:{port}")
    await client.jetstream().add_stream(name="S", subjects=["s.*"])
    acks = []
    for _ in range(2):
        one.do("request", subject="s.a", text="x", acked=True, message_id="id-1")
        acks.append(await said(one, "ack"))
    assert [(ack["ack"], ack["duplicate"], ack["seq"], ack["stream"]) for ack in acks] == [
        (True, False, 1, "S"),
        (True, True, 1, "S"),
    ]
    one.do("request", subject="t.a", text="x", acked=True, message_id="id-2")
    assert not (await said(one, "ack"))["ack"]
    await client.close()


async def test_two_thousand_messages_a_second_go_through_without_waiting(server, probe):
    """A burst of 10,000 publications from one event returns at once and arrives whole, in order."""
    port = await server()
    one = await probe(port, inputs={"InpOutBytes": 64_000_000})
    client = await nats.connect(f"nats://127.0.0.1:{port}")
    heard = await client.subscribe("burst")
    await client.flush()
    began = time.monotonic()
    one.do("core", subject="burst", text="x" * 200, count=10_000)
    await said(one, "published", 10)
    for _ in range(10_000):
        await heard.next_msg(5)
    assert time.monotonic() - began < 5
    await client.close()


def _certificates(folder):
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = x509.SubjectAlternativeName(
        [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return f'tls {{ cert_file: "{folder}/cert.pem", key_file: "{folder}/key.pem" }}'


async def test_tls_is_used_when_the_server_asks_and_a_stranger_is_not_trusted(server, probe, tmp_path):
    if not has_tls():
        pytest.skip("OpenSSL's headers are missing: apt-get install libssl-dev")
    port = await server(_certificates(tmp_path))
    one = await probe(port, trusted_ca=tmp_path / "cert.pem", faults={"read_max": 700})
    one.do("echo")
    one.do("subscribe", subject="echo")
    await said(one, "subscribed")
    one.do("core", subject="echo", text="x" * 50_000)
    assert (await said(one, "plain"))["size"] == 50_000
    stranger = await probe(port, wait=False)
    async with asyncio.timeout(5):
        while "TLS handshake" not in (await stranger.status()).last_error:
            await asyncio.sleep(0.02)
    plain = await probe(await server(), wait=False, inputs={"InpTls": True})
    async with asyncio.timeout(5):
        while "offers no TLS" not in (await plain.status()).last_error:
            await asyncio.sleep(0.02)
