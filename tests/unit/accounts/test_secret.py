"""The text of a generated key."""

import hashlib
import hmac

from hypothesis import given
from hypothesis import strategies as st

from tasks.accounts.secret import digest_of, id_named_by, id_of_key, is_id, matches, new_key, shown


def test_a_key_carries_its_id_and_much_that_cannot_be_guessed():
    key_id, key = new_key()
    assert key.startswith(f"{shown(key_id)}_")
    assert id_of_key(key) == key_id and is_id(key_id)
    assert len(key.removeprefix(f"{shown(key_id)}_")) == 43  # 256 bits in base64


def test_no_two_keys_are_alike():
    made = [new_key() for _ in range(200)]
    assert len({key_id for key_id, _ in made}) == len({key for _, key in made}) == 200


def test_a_key_matches_its_own_digest_only():
    _, key = new_key()
    digest = digest_of(key)
    assert matches(key, digest)
    assert not matches(key[:-1] + ("A" if key[-1] != "A" else "B"), digest)
    assert not matches("", digest) and not matches("\ud800", digest)
    assert digest == hashlib.sha256(key.encode()).hexdigest()


def test_keys_are_compared_in_constant_time(monkeypatch):
    compared = []
    monkeypatch.setattr(hmac, "compare_digest", lambda *both: compared.append(both) or True)
    assert matches("x", digest_of("y"))
    assert compared == [(digest_of("x"), digest_of("y"))]


def test_a_person_may_name_a_key_by_any_beginning_of_it():
    key_id, key = new_key()
    for name in (key_id, shown(key_id), key, f" {key}\n"):
        assert id_named_by(name) == key_id
    for name in ("", "stk_", key_id[:-1], key_id.upper(), f"x{key_id}", "Mobile app"):
        assert id_named_by(name) is None


@given(st.text())
def test_other_text_has_no_form_of_a_key(text):
    assert id_of_key(text) is None
    digest_of(text)
