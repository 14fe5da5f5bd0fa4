"""Telling people by mail."""

from __future__ import annotations

import smtplib
import ssl
from email.message import EmailMessage
from email.utils import format_datetime

import structlog

from actions.resources import Resources
from actions.webhook import NotDelivered
from models.notifications import Notification
from runtime.channels import Channels, MailServer, is_loopback
from runtime.in_time import InTime

ANSWER_S = 5.0  # of each step
WHOLE_S = 15.0

_in_time = InTime(WHOLE_S, at_once=2)

_log = structlog.get_logger()


def send(res: Resources, notification: Notification) -> None:
    """Hands it to the mail server for all of MAIL_TO. Raises NotDelivered.

    Its Message-ID is the same at each try.
    """
    channels = res.settings.channels
    assert channels.mail_server is not None
    server, message = channels.mail_server, message_of(notification, channels)
    try:
        refused = _in_time(lambda: _hand_over(server, message))
    except TimeoutError as error:
        raise NotDelivered(f"the mail server took longer than {WHOLE_S:.0f} s") from error
    except (OSError, smtplib.SMTPException) as error:
        raise NotDelivered(f"the mail server did not take it: {type(error).__name__}: {error}") from error
    for address, reason in refused.items():  # the others have it, and must not get it again
        _log.warning("mail_refused", address=address, reason=repr(reason))


def message_of(notification: Notification, channels: Channels) -> EmailMessage:
    """The mail. What people wrote stands in its text and, on one line, in its subject: it makes no header."""
    assert channels.mail_from is not None
    message = EmailMessage()
    message["Subject"] = " ".join(notification.title.split())
    message["From"] = channels.mail_from
    message["To"] = ", ".join(channels.mail_to)
    message["Date"] = format_datetime(notification.at)
    message["Message-ID"] = f"<drawbreak-notification-{notification.id}@{channels.mail_from.rpartition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(f"{notification.text}\n")
    return message


def _hand_over(server: MailServer, message: EmailMessage) -> dict[str, tuple[int, bytes]]:
    """The addresses that were refused; an error if all were. Raises OSError, SMTPException."""
    context = _context(server)
    if server.tls:
        connection: smtplib.SMTP = smtplib.SMTP_SSL(server.host, server.port, timeout=ANSWER_S, context=context)
    else:
        connection = smtplib.SMTP(server.host, server.port, timeout=ANSWER_S)
    with connection:
        connection.ehlo_or_helo_if_needed()
        encrypted = server.tls
        if not encrypted and connection.has_extn("starttls"):
            connection.starttls(context=context)
            encrypted = True
        if server.user is not None and server.password is not None:
            if not encrypted and not is_loopback(server.host):
                raise smtplib.SMTPException("it offers no encryption, and a password is not sent without")
            connection.login(server.user, server.password)
        return connection.send_message(message)


def _context(server: MailServer) -> ssl.SSLContext:
    """Certificates are looked at, but for that of this machine, which is seldom anybody's."""
    context = ssl.create_default_context()
    if is_loopback(server.host):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
