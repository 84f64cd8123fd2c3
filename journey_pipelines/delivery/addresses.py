"""What can be written to: checks of one address, without asking the network."""

from __future__ import annotations

import re

from email_validator import EmailNotValidError, validate_email


class BadAddress(ValueError):
    """An address nothing can be sent to; the message names the fault, never the person."""


# Plain ASCII addresses, nearly all there are, at a hundredth of the library's time. Whatever does not match is the library's to judge.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_PLAIN = re.compile(rf"[A-Za-z0-9_+-]+(?:\.[A-Za-z0-9_+-]+)*@(?:{_LABEL}\.)+(?:com|org|net|test|[A-Za-z]{{2}})")
_TOO_LONG = 64  # of a local part, RFC 5321 4.5.3.1.1
_PHONE = re.compile(r"\+?[0-9]{4,15}")
_PHONE_NOISE = str.maketrans("", "", " .()-/\u00a0")


def email_address(text: str) -> str:
    """The address as SMTP takes it: international domains in ASCII; the local part stays as it is. Raises BadAddress.

    Domains for tests (.test) are accepted, deliverability is not asked for.
    """
    if _PLAIN.fullmatch(text) and text.find("@") <= _TOO_LONG and len(text) <= 254 and "--" not in text:
        return text
    try:
        valid = validate_email(text, check_deliverability=False, test_environment=True, strict=True)
    except EmailNotValidError as error:
        raise BadAddress(f"bad address: {error}") from None
    return valid.ascii_email or f"{valid.local_part}@{valid.ascii_domain}"


def phone_number(text: str) -> str:
    """Digits, with a + where there was one; spaces, dots, brackets and dashes go. Raises BadAddress."""
    digits = text.translate(_PHONE_NOISE)
    if not _PHONE.fullmatch(digits):
        raise BadAddress("bad address: expected a phone number of 4 to 15 digits, such as +41791234567")
    return digits


def push_token(text: str) -> str:
    """A token as the app gave it. Raises BadAddress."""
    if not text or len(text) > 4096 or any(c.isspace() or not c.isprintable() for c in text):
        raise BadAddress("bad address: expected a push token without spaces")
    return text


CHECKS = {"email": email_address, "sms": phone_number, "push": push_token}
