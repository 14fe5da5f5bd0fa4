"""Mail: what a real server gets, and what nobody gets in clear."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from actions import mail
from actions.deliveries import send_out
from actions.resources import Resources
from actions.webhook import NotDelivered
from models.deliveries import DELIVER
from runtime.channels import mail_server
from runtime.process import free_port
from tests.integration.conftest import Lottery
from tests.integration.delivering import (
    KINDS,
    SECRET,
    fail_for_good,
    rung,
    say,
    tried,
    waiting,
    with_channels,
    work,
)
from tests.integration.hearing import Office, office, rows


@pytest.fixture
def house() -> Iterator[Office]:
    with office() as told:
        yield told


@pytest.fixture
def res(lottery: Lottery, house: Office) -> Resources:
    return with_channels(
        lottery.res, webhook_url=house.url, webhook_secret=SECRET, webhook_kinds=KINDS, mail_kinds=KINDS
    )


class Box:
    """What a mail server got."""

    def __init__(self) -> None:
        self.mails: list[EmailMessage] = []
        self.to: list[list[str]] = []
        self.logins: list[tuple[str, bool]] = []
        self.answers: list[str] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.answers:
            return self.answers.pop(0)
        made: Any = message_from_bytes(envelope.content, policy=policy.default)
        self.mails.append(made)
        self.to.append(envelope.rcpt_tos)
        return "250 OK"

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        if address.startswith("nobody"):
            return "550 no such person"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        good = isinstance(data, LoginPassword) and (data.login, data.password) == (b"us@er", b"pa ss")
        self.logins.append((mechanism, session.ssl is not None))
        return AuthResult(success=good, handled=False) if not good else AuthResult(success=True)


@contextmanager
def post_office(box: Box, **options: Any) -> Iterator[int]:
    port = free_port()
    controller = Controller(box, hostname="127.0.0.1", port=port, **options)
    controller.start()
    try:
        yield port
    finally:
        controller.stop()


def mailing(res: Resources, url: str, *to: str) -> Resources:
    return with_channels(
        res,
        mail_server=mail_server(url),
        mail_from="drawbreak@example.org",
        mail_to=to or ("ops@example.org", "boss@example.org"),
        mail_kinds=KINDS,
    )


def test_mail_goes_to_all_addresses_with_one_id_and_survives_a_server_that_refuses_at_first(lottery: Lottery) -> None:
    box = Box()
    box.answers = ["451 later"]
    with post_office(box) as port:
        res = mailing(lottery.res, f"smtp://127.0.0.1:{port}")
        made = say(res, "₱1,000 is missing")
        send_out(res)
        (delivery,) = rung(lottery)
        with pytest.raises(NotDelivered):
            tried(res, delivery)
        assert tried(res, delivery)
    (sent,) = box.mails
    assert box.to == [["ops@example.org", "boss@example.org"]]
    assert (sent["Subject"], sent["From"]) == ("₱1,000 is missing", "drawbreak@example.org")
    assert sent["Message-ID"] == f"<drawbreak-notification-{made}@example.org>"
    assert sent.get_content().strip() == "of balance"
    assert waiting(res) == []


def test_a_title_makes_no_header_of_its_own(lottery: Lottery) -> None:
    box = Box()
    with post_office(box) as port:
        res = mailing(lottery.res, f"smtp://127.0.0.1:{port}")
        say(res, "Hello\r\nBcc: thief@example.org\r\n\r\nbody")
        say(res, "Tab\tand\nline: x")
        work(lottery, res)
    assert len(box.mails) == 2
    for sent in box.mails:
        assert sent["Bcc"] is None
        assert "\n" not in str(sent["Subject"])
        assert sent.get_content().strip() == "of balance"
    assert box.to == [["ops@example.org", "boss@example.org"]] * 2


def test_an_address_that_is_refused_keeps_the_others_from_nothing(lottery: Lottery) -> None:
    box = Box()
    with post_office(box) as port:
        url = f"smtp://127.0.0.1:{port}"
        res = mailing(lottery.res, url, "nobody@example.org", "ops@example.org")
        say(res)
        work(lottery, res)
        assert box.to == [["ops@example.org"]]
        nobody = mailing(lottery.res, url, "nobody@example.org")
        say(nobody)
        send_out(nobody)
        (delivery,) = rung(lottery)
        with pytest.raises(NotDelivered):
            tried(nobody, delivery)


def test_mail_that_nobody_takes_becomes_a_dead_letter(lottery: Lottery) -> None:
    res = mailing(lottery.res, f"smtp://127.0.0.1:{free_port()}")
    say(res)
    send_out(res)
    (delivery,) = rung(lottery)
    fail_for_good(lottery, res, delivery)
    assert [row.task for row in rows(res, "SELECT task FROM dead_letters")] == [DELIVER]


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """A certificate that nobody knows."""
    folder = tmp_path_factory.mktemp("tls")
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(now - timedelta(1)).not_valid_after(now + timedelta(1))
    (folder / "cert").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    no_secret = serialization.NoEncryption()
    pem, kind = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (folder / "key").write_bytes(key.private_bytes(pem, kind, no_secret))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(folder / "cert", folder / "key")
    return context


def test_where_starttls_is_offered_a_password_goes_encrypted(lottery: Lottery, tls: ssl.SSLContext) -> None:
    box = Box()
    options = {"tls_context": tls, "auth_required": True, "authenticator": box.authenticate}
    with post_office(box, **options) as port:
        res = mailing(lottery.res, f"smtp://us%40er:pa%20ss@127.0.0.1:{port}")
        say(res)
        work(lottery, res)
    assert len(box.mails) == 1
    assert [encrypted for _, encrypted in box.logins] == [True]


def test_a_password_is_sent_to_no_other_machine_without_encryption(
    lottery: Lottery, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mail, "is_loopback", lambda host: False)
    box = Box()
    options = {"auth_require_tls": False, "authenticator": box.authenticate}
    with post_office(box, **options) as port:
        res = mailing(lottery.res, f"smtp://us%40er:pa%20ss@127.0.0.1:{port}")
        say(res)
        send_out(res)
        (delivery,) = rung(lottery)
        with pytest.raises(NotDelivered, match="encryption"):
            tried(res, delivery)
    assert (box.logins, box.mails) == ([], [])


def test_a_server_with_a_certificate_that_nobody_knows_is_believed_on_this_machine_alone(
    lottery: Lottery, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Box()
    with post_office(box, tls_context=tls) as port:
        res = mailing(lottery.res, f"smtp://127.0.0.1:{port}")
        say(res)
        work(lottery, res)
        monkeypatch.setattr(mail, "is_loopback", lambda host: False)
        say(res)
        send_out(res)
        (delivery,) = rung(lottery)
        with pytest.raises(NotDelivered, match=r"[Cc]ertificate"):
            tried(res, delivery)
    assert len(box.mails) == 1


def test_both_channels_are_told_and_one_does_not_wait_for_the_other(
    lottery: Lottery, res: Resources, house: Office
) -> None:
    box = Box()
    house.answers = [500]
    with post_office(box) as port:
        both = mailing(res, f"smtp://127.0.0.1:{port}")
        channels = replace(both.settings.channels, webhook_url=house.url, webhook_secret=SECRET, webhook_kinds=KINDS)
        both = replace(both, settings=replace(both.settings, channels=channels))
        say(both)
        say(both)
        assert send_out(both) == 2
        failed = 0
        while found := rung(lottery):
            for delivery in found:
                try:
                    tried(both, delivery)
                except NotDelivered:
                    failed += 1
    assert (len(box.mails), failed) == (2, 1)
    assert [channel for _, channel in waiting(both)] == ["webhook"] * 2
