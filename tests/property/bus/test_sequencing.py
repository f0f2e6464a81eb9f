"""Joiner and ring: whatever the network loses, repeats or reorders, readers and streams get everything once and in order."""

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.bus.sequencing import KEEP_S, Joiner, Ring

SUBJECTS = ("ticks.A", "ticks.B")
PATTERN = "ticks.*"


class Network:
    """A stream, a live connection that misbehaves, and a reader in between, as ``NatsBus`` drives it."""

    def __init__(self, joiner):
        self.joiner = joiner
        self.stream = []
        self.newest = dict.fromkeys(SUBJECTS, 0)
        self.reached = dict.fromkeys(SUBJECTS, 0)
        self.delayed = []
        self.reading = None
        self.got = {subject: [] for subject in SUBJECTS}

    def publish(self, subject, fate):
        """Publish the next message of a subject; the stream has it, the live connection perhaps."""
        self.newest[subject] += 1
        item = (subject, self.newest[subject])
        self.stream.append(item)
        if fate == "lost":
            return
        if fate == "late":
            self.delayed.append(item)
            return
        self.hear(item)
        if fate == "twice":
            self.hear(item)

    def hear(self, item):
        self.reached[item[0]] = max(self.reached[item[0]], item[1])
        self.take(self.joiner.live(*item, item))

    def hear_late(self, index):
        if self.delayed:
            self.hear(self.delayed.pop(index % len(self.delayed)))

    def begin(self):
        """Begin to read the stream, up to its end as it is now."""
        if self.reading is None:
            self.joiner.begin(PATTERN)
            self.reading = iter(list(self.stream))

    def read(self, count):
        """Read on; at the end tell the joiner."""
        if self.reading is None:
            return
        for _ in range(count):
            item = next(self.reading, None)
            if item is None:
                self.reading = None
                self.take(self.joiner.end(PATTERN))
                return
            self.reached[item[0]] = max(self.reached[item[0]], item[1])
            self.take(self.joiner.stored(*item, item))

    def settle(self):
        """Let everything late arrive, finish reading, fill holes until there are none."""
        while self.delayed:
            self.hear_late(0)
        self.read(len(self.stream) + 1)
        for _ in range(100):
            if not self.joiner.holes():
                return
            for subject in self.joiner.holes():
                for item in self.stream:
                    if item[0] == subject:
                        self.reached[subject] = max(self.reached[subject], item[1])
                        self.take(self.joiner.stored(*item, item))
        raise AssertionError(f"holes that never fill: {self.joiner.holes()}")

    def take(self, ready):
        for subject, seq in ready:
            self.got[subject].append(seq)


actions = st.one_of(
    st.tuples(st.just("publish"), st.sampled_from(SUBJECTS), st.sampled_from(["heard", "heard", "lost", "late", "twice"])),
    st.tuples(st.just("hear_late"), st.integers(0, 9)),
    st.tuples(st.just("begin")),
    st.tuples(st.just("read"), st.integers(1, 6)),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(actions, max_size=60), st.integers(1, 8), st.integers(0, 5))
def test_any_interleaving_of_live_and_stored_messages_is_joined_without_hole_or_repeat(script, room, handled):
    network = Network(Joiner({"ticks.A": handled}, max_pending=room))
    for _ in range(handled):
        network.publish("ticks.A", "lost")
    for name, *arguments in script:
        getattr(network, name)(*arguments)
    network.settle()
    for subject in SUBJECTS:
        first = handled + 1 if subject == "ticks.A" else 1
        # All that was ever noticed: what is lost after the last message heard shows with the next one.
        assert network.got[subject] == list(range(first, max(network.reached[subject], first - 1) + 1))
    assert network.joiner.lost == 0
    assert not network.joiner.holes()


@settings(max_examples=200, deadline=None)
@given(st.lists(actions, max_size=60), st.integers(1, 8))
def test_reading_the_stream_once_more_brings_whatever_was_lost(script, room):
    network = Network(Joiner({}, max_pending=room))
    for name, *arguments in script:
        getattr(network, name)(*arguments)
    network.settle()
    network.begin()
    network.settle()
    assert network.got == {subject: list(range(1, network.newest[subject] + 1)) for subject in SUBJECTS}


@settings(max_examples=200, deadline=None)
@given(st.lists(actions, max_size=40), st.integers(1, 8))
def test_a_reader_that_hears_only_what_comes_from_now_on_has_no_hole_or_repeat_either(script, room):
    network = Network(Joiner({}, from_start=False, max_pending=room))
    for name, *arguments in script:
        if name == "publish":
            getattr(network, name)(*arguments)
    network.settle()
    for got in network.got.values():
        assert got == list(range(got[0], got[0] + len(got))) if got else True


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(1, 30), max_size=40), st.integers(1, 40))
def test_what_nobody_holds_is_counted_and_the_rest_goes_on_in_order(numbers, room):
    """The stream is empty: holes are given up one after the other."""
    joiner, got = Joiner({}, max_pending=room), []
    for seq in numbers:
        got += joiner.live("ticks.A", seq, seq)
    for _ in range(100):
        if not joiner.holes():
            break
        got += joiner.give_up("ticks.A")
    assert not joiner.holes()
    assert got == sorted(set(got))
    assert joiner.last.get("ticks.A", 0) == (max(numbers) if numbers else 0)
    assert joiner.lost == joiner.last.get("ticks.A", 0) - len(got)
    if room >= 30:
        assert got == sorted(set(numbers))


class Stream:
    """What a server keeps of one subject; killed, it forgets some of what came in the last seconds."""

    def __init__(self):
        self.kept = []
        self.at_s = {}

    def take(self, number, now_s):
        self.kept.append(number)
        self.at_s[number] = now_s

    def kill(self, count, now_s):
        while count and self.kept and self.at_s[self.kept[-1]] > now_s - KEEP_S:
            self.kept.pop()
            count -= 1

    @property
    def held(self):
        return self.kept[-1] if self.kept else 0


ring_actions = st.lists(
    st.one_of(
        st.tuples(st.just("publish"), st.booleans()),
        st.tuples(st.just("check"), st.floats(0.0, 3.0)),
        st.tuples(st.just("restart"), st.integers(0, 10)),
        st.tuples(st.just("kill"), st.integers(0, 10)),
    ),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(ring_actions)
def test_a_stream_ends_up_holding_everything_in_order_whatever_was_lost_on_the_way(script):
    """Losses come as the end of a connection's life: once one is lost, all are until the next check."""
    stream, now_s, seq, broken = Stream(), 0.0, 0, False
    ring = Ring(stream.held, KEEP_S, 1_000)

    def send(number):
        stream.take(number, now_s)

    def check(age_s):
        nonlocal broken
        ring.confirm(stream.held, now_s)
        for number, payload in ring.missing(now_s - age_s):
            assert payload == b"%d" % number
            send(number)
        broken = False

    for name, argument in script:
        now_s += 1.0
        if name == "publish":
            seq += 1
            assert ring.add(seq, b"%d" % seq, now_s)
            broken = broken or argument
            if not broken:
                send(seq)
        elif name == "check":
            check(0.0)
        elif name == "kill":
            stream.kill(argument, now_s)
            ring.restarted(stream.held)
            check(0.0)
        else:
            # A restarted publisher begins again some way back, with the same numbers.
            ring, broken = Ring(stream.held, KEEP_S, 1_000), False
            safe = max((number for number in stream.kept if stream.at_s[number] <= now_s - KEEP_S), default=0)
            for number in range(min(max(seq - argument, 0), safe) + 1, seq + 1):
                assert ring.add(number, b"%d" % number, now_s) == (number > stream.held)
            check(0.0)
    check(0.0)
    assert stream.kept == list(range(1, seq + 1))
    ring.confirm(stream.held, now_s)
    assert len(ring) == 0
    assert ring.bytes == 0
    assert ring.newest == seq


def test_only_what_was_sent_before_a_moment_is_sent_again():
    ring = Ring(0)
    for seq in (1, 2, 3):
        ring.add(seq, b"x", float(seq))
    assert [seq for seq, _ in ring.missing(2.0)] == [1, 2]
    ring.confirm(1, 9.0)
    assert [seq for seq, _ in ring.missing(2.0)] == [2]
    ring.confirm(0, 9.0)
    assert ring.held == 1
    assert not ring.add(1, b"x", 9.0)


def test_what_a_killed_server_took_with_it_is_missing_again_until_it_was_held_for_long_enough():
    ring = Ring(0, keep_s=3.0, keep_bytes=100)
    for seq in (1, 2, 3):
        ring.add(seq, b"x", 0.0)
    ring.confirm(3, 1.0)
    assert (len(ring), ring.kept) == (0, 3)
    ring.restarted(1)
    assert [seq for seq, _ in ring.missing(9.0)] == [2, 3]
    ring.confirm(3, 4.0)
    ring.confirm(3, 8.0)
    assert ring.kept == 0
    ring.restarted(1)
    assert ring.missing(9.0) == []


def test_what_is_kept_longer_has_a_limit_of_its_own():
    ring = Ring(0, keep_s=3.0, keep_bytes=2)
    for seq in range(1, 6):
        ring.add(seq, b"x", 0.0)
    ring.confirm(5, 0.5)
    assert (ring.kept, ring.bytes) == (2, 0)
    ring.restarted(0)
    assert [seq for seq, _ in ring.missing(9.0)] == [4, 5]


def test_a_number_beyond_what_was_sent_is_not_believed_to_be_held():
    ring = Ring(0)
    ring.add(1, b"x", 0.0)
    ring.confirm(2**40, 1.0)
    assert ring.held == 1
    assert ring.add(2, b"x", 1.0)
    ring.restarted(2**40)
    assert ring.add(3, b"x", 1.0)


def test_one_message_far_ahead_is_a_stray_and_two_in_a_row_are_a_jump():
    joiner = Joiner({"ticks.A": 3})
    assert joiner.live("ticks.A", 2**40, "stray") == []
    assert joiner.stray("ticks.A", 3, reach=2**40) is None
    assert joiner.stray("ticks.A", 3, reach=4) == "stray"
    assert joiner.holes() == ()
    assert joiner.live("ticks.A", 4, "true") == ["true"]
    for number in (100, 101):
        joiner.live("ticks.A", number, number)
    assert joiner.stray("ticks.A", 4, reach=5) is None
    assert joiner.give_up("ticks.A") == [100, 101]


def test_what_goes_on_below_a_lone_number_makes_it_a_stray():
    joiner = Joiner({"ticks.A": 3})
    joiner.live("ticks.A", 9, "stray")
    joiner.live("ticks.A", 4, "true")
    assert joiner.stray("ticks.A", 3, reach=1_000) == "stray"
    assert joiner.live("ticks.A", 5, "true") == ["true"]
