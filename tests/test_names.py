"""What users and records may be called."""

import time

import pytest

from umusic.errors import InvalidField
from umusic.library.names import record_name, user_name


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        (None, None),
        ("", None),
        ("  ", None),
        ("..", None),
        ("takes/", None),
        ("take.wav", "take.wav"),
        ("../../etc/passwd", "passwd"),
        ("C:\\takes\\one.wav", "one.wav"),
        ("e\u0301tude.wav", "\u00e9tude.wav"),
        ("Запись №1.wav", "Запись №1.wav"),
        ("x" * 250, "x" * 250),
        ("ω\u0314\u0342\u0345" * 250, "ᾧ" * 250),
        ("x" * 300 + "/take.wav", "take.wav"),
    ],
)
def test_a_records_name_is_the_base_name_in_nfc(raw: str | None, name: str | None) -> None:
    assert record_name(raw) == name


@pytest.mark.parametrize(
    "raw", ["a\0b", "a\nb", "a\x1bb", "a\u2028b", "a\u202eb", "\u200fa", "\udc80", "x" * 251]
)
def test_control_characters_and_long_names_are_refused(raw: str) -> None:
    for clean in (record_name, user_name):
        with pytest.raises(InvalidField):
            clean(raw)


def test_a_name_full_of_accents_is_refused_at_once() -> None:
    began = time.process_time()
    with pytest.raises(InvalidField):
        user_name("a" + "\u0301\u0316" * 20_000)
    assert time.process_time() - began < 0.1


def test_a_users_name_is_trimmed_and_not_empty() -> None:
    assert user_name("  Egor Andreev ") == "Egor Andreev"
    with pytest.raises(InvalidField):
        user_name(" ")
