"""Files as ticks: every format, every way to be broken."""

import codecs
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from libs.common.errors import ConfigError, DataError
from libs.common.storage.ticks import TickStore
from services.ingest.adapters.replay import ReplayOptions, open_replay, replay_format
from services.ingest.raw import RawTicks

S = 1_000_000_000
MT5_BARS = (
    "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\r\n"
    "2026.02.16\t02:07:00\t5010.50\t5014.78\t5010.40\t5014.77\t271\t0\t19\r\n"
    "2026.02.16\t02:08:00\t5014.77\t5016.59\t5013.07\t5014.44\t407\t0\t0\r\n"
)
MT5_TICKS = (
    "<DATE>\t<TIME>\t<BID>\t<ASK>\t<LAST>\t<VOLUME>\t<FLAGS>\n"
    "2026.01.13\t15:30:00.005\t1.16500\t1.16512\t\t\t6\n"
    "2026.01.13\t15:30:00.250\t1.16501\t\t\t\t2\n"
    "2026.01.13\t15:30:01.000\t\t1.16515\t\t\t4\n"
)
HISTDATA = "20200101 170000065,1.121200,1.121720,0\n20200101 170010447,1.121200,1.121920,0\n"
TRUEFX = (
    "timestamp,bid,ask\n2013-01-01 22:00:00.295000+00:00,86.655,86.728\n2013-01-01 22:02:35+00:00,86.657,86.728\n"
)
PLAIN = "time,bid,ask\n2024-01-08 00:00:00.5,1.1,1.2\n2024-01-08T00:00:01,1.1,1.2\n".replace("T", " ")


def write(folder: Path, text: str | bytes, name: str = "ticks.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(path: Path, **options: object) -> list[RawTicks]:
    return list(open_replay(path, "X", ReplayOptions(**options)))


def joined(chunks: list[RawTicks], name: str) -> list[float]:
    return np.concatenate([getattr(chunk, name) for chunk in chunks]).tolist()


def utc(chunks: list[RawTicks]) -> list[str]:
    return [
        datetime.fromtimestamp(t // S, UTC).strftime("%Y-%m-%d %H:%M:%S") + f".{t // 1_000_000 % 1_000:03d}"
        for t in joined(chunks, "time_ns")
    ]


# ---- formats


def test_metatrader_bars_become_four_ticks_each_with_the_spread_of_the_bar(tmp_path):
    path = write(tmp_path, MT5_BARS)
    (raw,) = read(path, bar_spread_points=30.0)
    assert replay_format(path) == "MT5 bars"
    assert raw.bid.tolist() == [5010.5, 5010.4, 5014.78, 5014.77, 5014.77, 5016.59, 5013.07, 5014.44]
    assert np.round(raw.ask - raw.bid, 9).tolist() == [0.19] * 4 + [0.3] * 4
    assert utc([raw])[0] == "2026-02-16 00:07:00.000"  # NY+7 in winter is UTC+2
    assert [raw.place(k) for k in (0, 3, 4)] == [f"{path}:2", f"{path}:2", f"{path}:3"]
    assert raw.interval_ns > 19 * S


def test_daily_metatrader_bars_have_no_time_column(tmp_path):
    text = "<DATE>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\n"
    text += "".join(f"2026.01.{day:02d}\t1.1\t1.3\t1.0\t1.2\t9\t0\t5\n" for day in range(5, 9))
    (raw,) = read(write(tmp_path, text))
    assert len(raw) == 16
    assert utc([raw])[0] == "2026-01-04 22:00:00.000"


def test_metatrader_ticks_keep_a_price_that_did_not_change(tmp_path):
    path = write(tmp_path, MT5_TICKS)
    (raw,) = read(path)
    assert replay_format(path) == "MT5 ticks"
    assert raw.bid.tolist() == [1.165, 1.16501, 1.16501]
    assert raw.ask.tolist() == [1.16512, 1.16512, 1.16515]
    assert raw.flags.tolist() == [6, 2, 4]
    assert len(raw.last) == len(raw.volume) == 0
    assert utc([raw]) == ["2026-01-13 13:30:00.005", "2026-01-13 13:30:00.250", "2026-01-13 13:30:01.000"]


def test_metatrader_ticks_with_commas_and_trades(tmp_path):
    text = "<DATE>,<TIME>,<BID>,<ASK>,<LAST>,<VOLUME>,<FLAGS>\n2026.01.13,15:30:00.005,100.1,100.2,,,6\n"
    text += "2026.01.13,15:30:00.006,,,100.2,3,56\n2026.01.13,15:30:00.007,100.2,,,,2\n"
    (raw,) = read(write(tmp_path, text))
    assert raw.last.tolist() == [0.0, 100.2, 100.2]
    assert raw.volume.tolist() == [0.0, 3.0, 0.0]
    assert raw.bid.tolist() == [100.1, 100.1, 100.2]


def test_a_price_unknown_at_the_start_is_no_number_for_the_rules_to_find(tmp_path):
    text = MT5_TICKS.replace("1.16500\t", "\t", 1)
    (raw,) = read(write(tmp_path, text))
    assert np.isnan(raw.bid[0])
    assert raw.bid[1] == 1.16501


def test_an_unchanged_price_is_carried_from_chunk_to_chunk(tmp_path):
    header, first, *_ = MT5_TICKS.split("\n")
    line = "2026.01.13\t15:{:02d}:{:02d}.{:03d}\t\t1.16512\t\t\t4\n"
    rows = (line.format(30 + k // 60_000, k // 1000 % 60, k % 1000) for k in range(150_000))
    text = header + "\n" + first + "\n" + "".join(rows)
    chunks = read(write(tmp_path, text), chunk=40_000)
    assert set(joined(chunks, "bid")) == {1.165}
    assert max(len(chunk) for chunk in chunks) <= 40_000
    assert chunks[-1].place(len(chunks[-1]) - 1).endswith(":150002")


def test_histdata_ticks_run_on_the_clock_of_new_york(tmp_path):
    path = write(tmp_path, HISTDATA)
    chunks = read(path)
    assert replay_format(path) == "HistData ticks"
    assert utc(chunks) == ["2020-01-01 22:00:00.065", "2020-01-01 22:00:10.447"]
    assert chunks[0].first_line == 1


def test_histdata_bars(tmp_path):
    path = write(tmp_path, "20170102 020000;1.05155;1.05197;1.05155;1.05190;0\n"
                           "20170102 020100;1.05209;1.05209;1.05177;1.05179;0\n")
    assert replay_format(path) == "HistData bars"
    assert utc(read(path))[0] == "2017-01-02 07:00:00.000"


def test_truefx_with_and_without_header(tmp_path):
    assert utc(read(write(tmp_path, TRUEFX))) == ["2013-01-01 22:00:00.295", "2013-01-01 22:02:35.000"]
    own = write(tmp_path, "EUR/USD,20130101 22:00:00.295,1.31,1.32\n", "own.csv")
    assert replay_format(own) == "TrueFX ticks"
    assert utc(read(own)) == ["2013-01-01 22:00:00.295"]


def test_a_time_with_its_own_offset_ignores_a_named_zone(tmp_path):
    assert utc(read(write(tmp_path, TRUEFX), zone="NY+7"))[0] == "2013-01-01 22:00:00.295"


@pytest.mark.parametrize(
    ("name", "time"),
    [
        ("time", "2024-01-08 00:00:00.5"), ("timestamp", "2024-01-08T00:00:00.5Z"),
        ("Datetime", "2024.01.08 00:00:00.5"), ("ts", "1704672000.5"), ("time_msc", "1704672000500"),
        ("Timestamp", "1704672000500000"), ("time_ns", "1704672000500000000"),
        ("time", "2024-01-08 02:00:00.5+02:00"), ("time", "2024/01/08 00:00:00.500"),
    ],
)  # fmt: skip
def test_plain_columns_in_many_spellings_of_time(tmp_path, name, time):
    assert utc(read(write(tmp_path, f"{name},Ask,BID\n{time},1.2,1.1\n"))) == ["2024-01-08 00:00:00.500"]


def test_plain_columns_may_have_more_columns_and_other_separators(tmp_path):
    text = "id;date;time;bid;ask;note\n1;2024-01-08;00:00:01.5;1.1;1.2;abc\n2;2024-01-08;00:00:02;1.1;1.3;\n"
    chunks = read(write(tmp_path, text))
    assert utc(chunks) == ["2024-01-08 00:00:01.500", "2024-01-08 00:00:02.000"]
    assert joined(chunks, "ask") == [1.2, 1.3]


def test_plain_bars(tmp_path):
    rows = "".join(f"2024-01-08 00:0{k}:00,1.1,1.3,1.0,1.2\n" for k in range(3))
    path = write(tmp_path, "datetime,open,high,low,close\n" + rows)
    assert replay_format(path) == "plain bars"
    assert len(read(path)[0]) == 12


def test_a_named_zone_moves_numbers_too(tmp_path):
    """MetaTrader's Python package writes the server's wall clock as if it were seconds since 1970."""
    assert utc(read(write(tmp_path, "time,bid,ask\n1704672000,1.1,1.2\n"), zone="EET")) == ["2024-01-07 22:00:00.000"]


def test_an_unknown_zone_is_refused_before_the_first_tick(tmp_path):
    with pytest.raises(ConfigError, match="NY\\+7"):
        open_replay(write(tmp_path, PLAIN), "X", ReplayOptions(zone="NYC"))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_files_with_a_byte_order_mark(tmp_path, encoding):
    (raw,) = read(write(tmp_path, MT5_BARS.encode(encoding)))
    assert len(raw) == 8
    assert raw.first_line == 2


@pytest.mark.parametrize("end", ["", "\n", "\r\n", "\r\n\r\n\n"])
def test_the_end_of_the_last_line_does_not_matter(tmp_path, end):
    assert len(joined(read(write(tmp_path, PLAIN.rstrip() + end)), "bid")) == 2


def test_parquet_ticks_bars_and_types(tmp_path):
    ticks = pl.DataFrame({"time_msc": [1704672000500, 1704672001000], "bid": [1.1, None], "ask": [1.2, 1.3]})
    ticks.write_parquet(tmp_path / "t.parquet")
    (raw,) = read(tmp_path / "t.parquet")
    assert utc([raw])[0] == "2024-01-08 00:00:00.500"
    assert np.isnan(raw.bid[1])
    stamps = pl.DataFrame({"timestamp": [datetime(2024, 1, 8, 0, 0, 1, tzinfo=UTC)], "Bid": [1], "Ask": [2]})
    stamps.write_parquet(tmp_path / "s.parquet")
    assert utc(read(tmp_path / "s.parquet")) == ["2024-01-08 00:00:01.000"]
    bars = pl.DataFrame(
        {"time": [1704672000, 1704672060], "time_broker": [0, 60], "open": [10.0, 10.0], "high": [12.0, 12.0],
         "low": [9.0, 9.0], "close": [11.25, 11.0], "spread": [7, 0]}
    )
    bars.write_parquet(tmp_path / "b.parquet")
    (raw,) = read(tmp_path / "b.parquet", bar_spread_points=50.0)
    assert replay_format(tmp_path / "b.parquet") == "Parquet bars"
    assert np.round(raw.ask - raw.bid, 9).tolist() == [0.07] * 4 + [0.5] * 4


def test_the_tick_store_is_read_file_by_file_or_as_a_folder(tmp_path):
    store = TickStore(tmp_path / "ticks", flush_ticks=2)
    (raw,) = read(write(tmp_path, "time,bid,ask\n" + "".join(
        f"2024-01-0{8 + k // 3} 00:00:0{k},1.{k + 1},1.9\n" for k in range(6))))
    store.append("US30.cash", raw)
    store.flush()
    chunks = read(tmp_path / "ticks" / "US30%2Ecash")
    assert joined(chunks, "bid") == raw.bid.tolist()
    assert joined(chunks, "time_ns") == raw.time_ns.tolist()


# ---- limits


@pytest.mark.parametrize(
    ("skip", "limit", "expected"), [(0, 3, "012"), (2, 0, "234567"), (2, 3, "234"), (7, 9, "7"), (9, 0, "")]
)
def test_skip_and_limit_count_ticks(tmp_path, skip, limit, expected):
    text = "time,bid,ask\n" + "".join(f"170467200{k},1.{k + 1},3\n" for k in range(8))
    chunks = read(write(tmp_path, text), skip=skip, limit=limit, chunk=2)
    found = "".join(str(round(bid * 10) - 11) for chunk in chunks for bid in chunk.bid)
    assert found == expected
    assert all(len(chunk) <= 2 for chunk in chunks)
    if chunks:
        assert chunks[0].first_line == 2 + skip


def test_a_limit_inside_a_bar_keeps_the_places_right(tmp_path):
    path = write(tmp_path, MT5_BARS)
    chunks = read(path, skip=2, limit=4, chunk=3)
    places = [chunk.place(k).rpartition(":")[2] for chunk in chunks for k in range(len(chunk))]
    assert places == ["2", "2", "3", "3"]


def test_what_lies_beyond_the_limit_is_not_looked_at(tmp_path):
    rows = "".join(f"{1704672000 + k},1.1,1.2\n" for k in range(250_000))
    path = write(tmp_path, "time,bid,ask\n" + rows + "broken\n")
    assert sum(len(chunk) for chunk in read(path, limit=1_000)) == 1_000
    with pytest.raises(DataError, match="line 250002"):
        read(path)


# ---- broken files


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("2024-01-08 00:00:02,1.1", "2 columns instead of 3: '2024-01-08 00:00:02,1.1'"),
        ("2024-01-08 00:00:02,1.1,1.2,9", "4 columns instead of 3"),
        ("2024-01-08 00:00:02,1.1,1.2x", "column ask: '1.2x' is not a number"),
        ("2024-01-08 00:00:02,,1.2", "column bid: '' is not a number"),
        ("2024-01-08 00:00:02,nan,1.2", "column bid: 'nan' is not a number"),
        ("2024-01-08 00:00:02,1.1,inf", "column ask: 'inf' is not a number"),
        ("08.01.2024 00:00:02,1.1,1.2", "column time: '08.01.2024 00:00:02' is not a time"),
        ("2024-01-32 00:00:02,1.1,1.2", "column time"),
        ("", "an empty line"),
        ("2024-01-08 00:00:02,1.1,1." + "2" * 5 + "\xff", "column ask"),
        ('2024-01-08 00:00:02,"1.1",1.2', "column bid"),
    ],
)
def test_a_broken_line_refuses_the_whole_file_naming_line_column_and_content(tmp_path, broken, said):
    good = "".join(f"2024-01-08 00:{k // 60:02d}:{k % 60:02d},1.1,1.2\n" for k in range(300))
    path = write(tmp_path, ("time,bid,ask\n" + good + broken + "\n" + good).encode("latin-1"))
    with pytest.raises(DataError) as caught:
        open_replay(path, "X")
    assert caught.value.line == 302
    assert said in str(caught.value)
    assert str(path) in str(caught.value)


def test_without_the_check_what_comes_before_the_broken_block_is_passed_on(tmp_path):
    good = "".join(f"{1704672000 + k},1.1,1.2\n" for k in range(400_000))
    path = write(tmp_path, "time,bid,ask\n" + good + "x,1.1,1.2\n")
    chunks = open_replay(path, "X", ReplayOptions(check=False))
    taken: list[int] = []
    with pytest.raises(DataError, match="line 400002"):
        taken.extend(len(chunk) for chunk in chunks)
    assert 0 < sum(taken) < 400_000


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "the file is empty"),
        (b"\n\n  \n", "the file is empty"),
        (b"time,bid,ask\n", "a header and no data"),
        (b"a,b,c\n1,2,3\n", "neither ticks nor bars"),
        (b"1,2,3\n1,2,3\n", "no header line"),
        (b"time,bid,ask\nyesterday,1,2\n", "the time in"),
        (b"PK\x03\x04rest", "zip archive"),
        (b"\x1f\x8b\x08rest", "gzip archive"),
        (b"\x94\x01\x00\x00hst", "binary file"),
        (b"x" * 100_000, "no line ends"),
        (b"<html><title>Statement: 12 - DEMO</title>", "an account statement, not ticks or bars"),
        (b"<!doctype html><title>404</title>", "a web page"),
        (b"PAR1 torn", "torn or incomplete"),
    ],
)
def test_what_is_no_market_data_is_refused_clearly(tmp_path, content, said):
    with pytest.raises(DataError, match=said):
        open_replay(write(tmp_path, content), "X")


def test_a_missing_file_a_folder_and_a_torn_parquet_file_are_named(tmp_path):
    with pytest.raises(DataError, match=r"nothing\.csv: there is no such file"):
        open_replay(tmp_path / "nothing.csv", "X")
    with pytest.raises(DataError, match="this is a folder"):
        open_replay(tmp_path, "X")
    whole = tmp_path / "t.parquet"
    pl.DataFrame({"time_msc": [1], "bid": [1.0], "ask": [1.0]}).write_parquet(whole)
    torn = write(tmp_path, whole.read_bytes()[:-20], "torn.parquet")
    with pytest.raises(DataError, match="torn or incomplete"):
        open_replay(torn, "X")


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"time": [1], "price": [1.0]}, "neither ticks nor bars"),
        ({"time_msc": [1, None], "bid": [1.0, 1.0], "ask": [1.0, 1.0]}, "the time is missing"),
        ({"time": ["x"], "bid": [1.0], "ask": [1.0]}, "not times"),
        ({"time": [1], "bid": ["x"], "ask": [1.0]}, "not numbers"),
    ],
)
def test_parquet_columns_that_cannot_be_used_are_named(tmp_path, columns, said):
    pl.DataFrame(columns).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=said):
        open_replay(tmp_path / "t.parquet", "X")


def test_an_empty_parquet_file_is_refused(tmp_path):
    pl.DataFrame(schema=dict.fromkeys(("time", "bid", "ask"), pl.Float64)).write_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="no rows"):
        open_replay(tmp_path / "t.parquet", "X")


def test_a_file_with_the_newest_tick_first_is_refused_but_single_falls_are_not(tmp_path):
    falling = "".join(f"{1704672100 - k},1.1,1.2\n" for k in range(50))
    with pytest.raises(DataError, match="oldest first"):
        open_replay(write(tmp_path, "time,bid,ask\n" + falling), "X")
    one = "time,bid,ask\n" + "".join(f"{1704672000 + (k if k != 7 else 1)},1.1,1.2\n" for k in range(50))
    (raw,) = read(write(tmp_path, one))
    assert (np.diff(raw.time_ns) < 0).sum() == 1


def test_bars_out_of_order_and_of_two_lengths_are_refused_with_their_line(tmp_path):
    header = MT5_BARS.split("\r\n", maxsplit=1)[0] + "\n"
    row = "{}\t{}\t1.1\t1.3\t1.0\t1.2\t9\t0\t5\n"
    unsorted = header + row.format("2026.02.16", "02:08:00") + row.format("2026.02.16", "02:07:00")
    with pytest.raises(DataError, match="line 3: this bar does not come after"):
        open_replay(write(tmp_path, unsorted), "X")
    days = [row.format(f"2026.01.{day:02d}", "00:00:00") for day in range(1, 29)]
    hours = [row.format("2026.01.28", f"{hour:02d}:00:00") for hour in range(16, 24)]
    with pytest.raises(DataError) as caught:
        open_replay(write(tmp_path, header + "".join(days + hours)), "X")
    assert caught.value.line == 30
    assert "1 d before this line, 1 h from it on" in str(caught.value)
    assert caught.value.remedy


def test_a_header_longer_than_a_line_block_or_a_bom_does_not_shift_lines(tmp_path):
    path = write(tmp_path, codecs.BOM_UTF8 + b"time,bid,ask\n1704672000,1.1,1.2\nx,1,2\n")
    with pytest.raises(DataError, match="line 3"):
        open_replay(path, "X")


# ---- what others write


def refused(path: Path, **options: object) -> str:
    with pytest.raises(DataError) as caught:
        read(path, **options)
    return str(caught.value)


def test_a_file_with_the_line_ends_of_old_macs_is_refused_instead_of_read_as_nothing(tmp_path):
    assert "carriage return" in refused(write(tmp_path, PLAIN.replace("\n", "\r")))


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_empty_lines_above_the_header_are_passed_over_and_counted(tmp_path, end):
    (raw,) = read(write(tmp_path, ("\n\n" + PLAIN).replace("\n", end)))
    assert (len(raw), raw.first_line) == (2, 4)
    broken = write(tmp_path, ("\n\n" + PLAIN + "2024-01-08 00:00:02,x,1.2\n").replace("\n", end))
    assert "line 6: column bid" in refused(broken)


def test_a_separator_at_the_end_of_every_line_leaves_an_export_what_it_is(tmp_path):
    (raw,) = read(write(tmp_path, MT5_TICKS.replace("\n", "\t\n")))
    assert raw.ask.tolist() == [1.16512, 1.16512, 1.16515]
    assert utc([raw])[0] == "2026-01-13 13:30:00.005"


def test_cells_in_quotes(tmp_path):
    text = '"time","bid","ask"\n"2024-01-08 00:00:00.5","1.1","1.2"\n"2024-01-08 00:00:01","1.1","1.2"\n'
    (raw,) = read(write(tmp_path, text))
    assert utc([raw]) == ["2024-01-08 00:00:00.500", "2024-01-08 00:00:01.000"]
    torn = write(tmp_path, text + '"2024-01-08 00:00:02","1,1","1.2"\n')
    assert "line 4: 4 columns instead of 3" in refused(torn)


@pytest.mark.parametrize("year", ["1600", "1969", "2100", "2262", "9999"])
def test_a_year_that_no_clock_here_can_hold_is_refused_where_it_stands(tmp_path, year):
    assert f"line 4: column time: '{year}-01-08" in refused(write(tmp_path, f"{PLAIN}{year}-01-08 00:00:02,1.1,1.2\n"))
    export = MT5_TICKS + f"{year}.01.13\t15:30:02.000\t\t1.16515\t\t\t4\n"
    assert "line 5: column <DATE> <TIME>" in refused(write(tmp_path, export))


@pytest.mark.parametrize("value", ["9999999999999", "99999999999999999999"])
def test_a_number_of_seconds_that_would_come_round_is_refused(tmp_path, value):
    assert "line 3: column time" in refused(write(tmp_path, f"time,bid,ask\n1704672000,1.1,1.2\n{value},1.1,1.2\n"))


def test_dates_with_the_day_first(tmp_path):
    text = "Gmt time,Ask,Bid,AskVolume,BidVolume\n31.01.2024 22:00:00.123,1.2,1.1,1,1\n"
    assert utc(read(write(tmp_path, text))) == ["2024-01-31 22:00:00.123"]


def test_a_decimal_comma_is_named(tmp_path):
    text = PLAIN.replace(",", ";").replace("1.1", "1,1")
    assert "'1,1' is not a number. Write decimals with a point" in refused(write(tmp_path, text))


def test_two_symbols_in_one_file_are_refused(tmp_path):
    text = "EUR/USD,20130101 22:00:00.295,1.31,1.32\nUSD/JPY,20130101 22:00:01.295,86.1,86.2\n"
    assert "line 2: column pair: 'USD/JPY', but the file begins with 'EUR/USD'" in refused(write(tmp_path, text))
    path = tmp_path / "two.parquet"
    table = {"symbol": ["A", "A", "B"], "time_msc": [1_704_672_000_000 + k for k in range(3)]}
    pl.DataFrame({**table, "bid": [1.1] * 3, "ask": [1.2] * 3}).write_parquet(path)
    assert "line 3: column symbol: 'B', but the file begins with 'A'" in refused(path)


def test_a_column_that_is_there_twice_is_refused(tmp_path):
    assert "column bid is there twice" in refused(write(tmp_path, "time,bid,bid,ask\n2024-01-08 00:00:00,1,2,3\n"))


@pytest.mark.parametrize("value", [-5, 2**62, float("nan"), float("inf")])
def test_a_parquet_time_out_of_range_is_refused(tmp_path, value):
    path = tmp_path / "ticks.parquet"
    times = pl.Series([1_704_672_000_000, value], dtype=pl.Float64 if isinstance(value, float) else pl.Int64)
    pl.DataFrame({"time_msc": times, "bid": [1.1] * 2, "ask": [1.2] * 2}).write_parquet(path)
    assert "line 2: column time_msc" in refused(path)


def test_prices_in_single_precision_are_the_decimals_they_stand_for(tmp_path):
    path = tmp_path / "ticks.parquet"
    prices = [1.16512, 2030.15, 149.123]
    single = pl.Series(prices, dtype=pl.Float32)
    pl.DataFrame({"time_msc": [1, 2, 3], "bid": single, "ask": single}).write_parquet(path)
    assert joined(read(path), "bid") == prices


def test_a_parquet_time_with_a_zone_ignores_a_named_one(tmp_path):
    path = tmp_path / "ticks.parquet"
    time = pl.Series([datetime(2024, 1, 8, 12, tzinfo=UTC)]).dt.convert_time_zone("Europe/London")
    pl.DataFrame({"time": time, "bid": [1.1], "ask": [1.2]}).write_parquet(path)
    assert utc(read(path, zone="NY+7")) == ["2024-01-08 12:00:00.000"]


def test_a_first_tick_in_the_future_is_named_as_what_is_wrong(tmp_path):
    rows = "".join(f"2024-01-08 00:00:{k:02d},1.1,1.2\n" for k in range(30))
    path = write(tmp_path, "time,bid,ask\n2031-01-08 00:00:00,1.1,1.2\n" + rows)
    assert "line 3: 30 of 31 ticks are earlier than a tick before them" in refused(path)
