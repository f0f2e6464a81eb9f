"""The section that names a terminal."""

from libs.common.config import Mt5Config


def test_what_is_shown_of_a_terminals_settings_holds_no_secret() -> None:
    config = Mt5Config(login=7, password="hush-hush", token="t0ken-value")
    for shown in (repr(config), str(config), f"{config}", repr([config])):
        assert "hush-hush" not in shown
        assert "t0ken-value" not in shown
        assert "login=7" in shown
