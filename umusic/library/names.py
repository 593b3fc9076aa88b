"""What a user or a record may be called: 1 to 250 characters, in Unicode NFC."""

import unicodedata

from umusic.errors import InvalidField

MAX_CHARACTERS = 250
#: So many characters at most become one in NFC (ᾧ and its like).
_MOST_COMPOSED = 4

#: Control characters, lone surrogates, line and paragraph separators.
_REFUSED = frozenset({"Cc", "Cs", "Zl", "Zp"})
#: Unicode's Bidi_Control: with these a name shows as another, "gpj.exe" as "exe.jpg".
_BIDI_CONTROL = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)

#: The same for descriptions, as ECMAScript writes it; of a user's name something can be seen.
_UNWANTED = r"\u0000-\u001f\u007f-\u009f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069"
RECORD_NAME = f"^[^{_UNWANTED}]*$"
USER_NAME = rf"^[^{_UNWANTED}]*[^\s{_UNWANTED}][^{_UNWANTED}]*$"


def user_name(raw: str) -> str:
    """The name of a user, trimmed and normalized.

    Raises:
        InvalidField: it is empty, too long or holds control characters.
    """
    name = _checked(raw.strip())
    if not name:
        raise InvalidField("The name is empty; 1 to 250 characters are taken.", field="name")
    return name


def record_name(raw: str | None) -> str | None:
    """The name of a record from a file name: its base name, without directories of any system.

    None if nothing is left of it: then the record has no name.

    Raises:
        InvalidField: it is too long or holds control characters.
    """
    if raw is None:
        return None
    base = _checked(raw.replace("\\", "/").rpartition("/")[2].strip())
    return base if base not in ("", ".", "..") else None


def search_text(raw: str | None) -> str:
    """What names are searched for; empty if all are meant.

    Raises:
        InvalidField: it is too long or holds control characters.
    """
    return _checked(raw or "", "q")


def _checked(raw: str, field: str = "name") -> str:
    # Longer ones are refused anyway; and with the square of their number grows how long it takes to
    # sort accents.
    short = len(raw) <= _MOST_COMPOSED * MAX_CHARACTERS
    name = unicodedata.normalize("NFC", raw) if short else raw
    if not _BIDI_CONTROL.isdisjoint(name) or any(
        unicodedata.category(character) in _REFUSED for character in name
    ):
        raise InvalidField(f"The {field} holds control characters.", field=field)
    if len(name) > MAX_CHARACTERS:
        raise InvalidField(
            f"The {field} has {len(name)} characters; at most {MAX_CHARACTERS} are taken.",
            field=field,
        )
    return name
