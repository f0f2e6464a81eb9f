"""Service log lines for people."""

from tickwire.log_lines import format_log_line


def test_a_json_line_becomes_time_level_event_and_fields() -> None:
    line = (
        '{"event": "model_loaded", "level": "info", "time": "2024-05-01T12:34:56.789012Z", "service": "inference", '
        '"version": 3}'
    )
    assert format_log_line("inference", line).plain == "inference 12:34:56.789 info    model_loaded version=3"


def test_other_text_is_kept_as_it_is() -> None:
    assert format_log_line("risk", "Traceback [bold]").plain == "risk      Traceback [bold]"
    assert format_log_line("risk", "{not json").plain == "risk      {not json"


def test_an_exception_keeps_its_lines() -> None:
    line = '{"event": "crashed", "level": "error", "exception": "Traceback:\\n  ValueError"}'
    assert format_log_line("risk", line).plain.endswith("crashed\nTraceback:\n  ValueError")
