"""What may name a job, a step or a wait, or be a key or a label: the one place that decides it.

The rule is the narrowest of what stores, bridges and pages hold unchanged: text that is not empty, that UTF-8 can
write, without NUL, of at most 1,000 characters. `web/page/identifiers.js` says the same to a page.
"""

from __future__ import annotations

from durably_wasm.errors import ValidationError
from durably_wasm.payloads import is_utf8, short_repr

LONGEST = 1_000  # in characters, which are code points


def check_identifier(what: str, value: object) -> str:
    """Return an identifier as plain text; `what` begins the message, such as "A step's name".

    Raises:
        ValidationError: It is not text, or text that cannot be an identifier.
    """
    text = check_text(what, value)
    if not text:
        raise ValidationError(f"{what} must be text and not empty, not ''")
    return text


def check_text(what: str, value: object) -> str:
    """Return the text of a label, which may be empty; otherwise as `check_identifier`."""
    if not isinstance(value, str):
        raise ValidationError(f"{what} must be text, not {short_repr(value)}")
    text = value if type(value) is str else str.__str__(value)  # of an enumeration's member, its value
    if len(text) > LONGEST:
        raise ValidationError(f"{what} must have at most {LONGEST} characters, not {len(text)}")
    if "\0" in text:
        raise ValidationError(f"{what} must not contain NUL: {short_repr(text)}")
    if not is_utf8(text):
        raise ValidationError(f"{what} must be text that UTF-8 can write: {short_repr(text)} has half a surrogate pair")
    return text
