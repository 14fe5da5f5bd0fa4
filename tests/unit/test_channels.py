"""Settings of the webhook and of mail: complete or not at all, and nothing that leads elsewhere."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.channels import MAIL_KINDS, WEBHOOK_KINDS, Channels, MailServer, mail_server, webhook_url
from runtime.environment import Reader, SettingsError

WEBHOOK = {"WEBHOOK_URL": "https://example.org/told", "WEBHOOK_SECRET": "sixteen letters!"}
MAIL = {"SMTP_URL": "smtp://mail.example.org", "MAIL_FROM": "a@example.org", "MAIL_TO": "b@example.org, c@example.org"}


def read(environ: dict[str, str]) -> Channels:
    reader = Reader(environ)
    found = Channels.from_reader(reader)
    reader.check()
    return found


def test_without_addresses_nobody_outside_is_told() -> None:
    assert read({}) == Channels()
    assert (Channels().webhook_url, Channels().mail_server, Channels().mail_to) == (None, None, ())


def test_channels_are_read_with_their_kinds() -> None:
    found = read(WEBHOOK | MAIL | {"MAIL_KINDS": "draw.voided, winners"})
    assert (found.webhook_url, found.webhook_secret) == (WEBHOOK["WEBHOOK_URL"], WEBHOOK["WEBHOOK_SECRET"])
    assert (found.webhook_kinds, found.mail_kinds) == (WEBHOOK_KINDS, ("draw.voided", "winners"))
    assert found.mail_server == MailServer("mail.example.org", 25, False, None, None)
    assert (found.mail_from, found.mail_to) == ("a@example.org", ("b@example.org", "c@example.org"))
    assert read(MAIL).mail_kinds == MAIL_KINDS


def test_secrets_are_not_shown() -> None:
    shown = repr(read(WEBHOOK | MAIL | {"SMTP_URL": "smtp://me:hunter2@mail.example.org"}))
    assert WEBHOOK["WEBHOOK_SECRET"] not in shown
    assert "hunter2" not in shown


@pytest.mark.parametrize("missing", [*WEBHOOK, *MAIL])
def test_a_channel_is_complete_or_not_there(missing: str) -> None:
    given = {name: value for name, value in (WEBHOOK | MAIL).items() if name != missing}
    with pytest.raises(SettingsError, match=f"{missing} is not set") as raised:
        read(given)
    assert len(raised.value.problems) == 1


@pytest.mark.parametrize(
    "url",
    [
        *("http://example.org/", "http://10.0.0.1/", "http://127.0.0.1.example.org/", "http://localhost.example.org"),
        *("ftp://example.org", "example.org", "https://", "https:///path", "https://user:pw@example.org/", "//x"),
        *("https://example.org:port/", "https://example.org/#part", "https://example.org/\r\nX: y", "https://exämple/"),
        *("http://[::2]/", "https://example.org/a b"),
    ],
)
def test_a_webhook_is_https_or_on_this_machine(url: str) -> None:
    with pytest.raises(ValueError, match=r"must|[Pp]ort"):
        webhook_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org",
        "https://example.org:8443/a?b=c",
        "http://127.0.0.1:1/",
        "http://localhost",
        "http://[::1]/x",
    ],
)
def test_a_webhook_may_be_anywhere_by_https_and_here_by_http(url: str) -> None:
    assert webhook_url(url) == url


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("smtps://mail.example.org", ("mail.example.org", 465, True, None, None)),
        ("smtp://us%40er:pa%3Ass@mail.example.org:587", ("mail.example.org", 587, False, "us@er", "pa:ss")),
    ],
)
def test_a_mail_server_is_read_from_its_url(url: str, server: tuple[Any, ...]) -> None:
    assert mail_server(url) == server


@pytest.mark.parametrize(
    "url", ["mail.example.org", "http://mail", "smtp://", "smtp://user@mail", "smtp://mail/x", "smtp://mail:x"]
)
def test_what_is_no_mail_server_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"must|[Pp]ort"):
        mail_server(url)


@pytest.mark.parametrize(
    "wrong",
    [
        {"MAIL_TO": "nobody"},
        {"MAIL_TO": "a@b@c"},
        {"MAIL_FROM": "a@b\r\nBcc: x@y"},
        {"MAIL_FROM": "Me <a@b>"},
        {"MAIL_KINDS": "winner"},
        {"WEBHOOK_KINDS": "draw.*"},
        {"WEBHOOK_SECRET": "short"},
    ],
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, str]) -> None:
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        read(WEBHOOK | MAIL | wrong)
