"""Signatures: any field of an approval changed, another key, or a made-up signature, and it is not genuine."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from libs.common.codec import Codec, encode
from libs.common.errors import ConfigError
from libs.common.messages.market import Side
from libs.common.messages.orders import OrderApproved, OrderPurpose
from libs.common.signing import Signer, Verifier, approval_is_genuine, key_id_of, sign_approval
from libs.common.storage.keys import SIGNERS, ensure_keys, ensure_passwords, read_key

SIGNER, OTHER = Signer(bytes(range(32))), Signer(bytes(range(1, 33)))
VERIFIER = Verifier(SIGNER.public_bytes)
ORDER = sign_approval(
    OrderApproved(
        ts_event_ns=5, ts_init_ns=6, order_id="ab" * 12, account="paper", symbol="EURUSD", side=Side.BUY, volume_lots=0.1,
        price=1.1, sl=1.0, tp=1.2, purpose=OrderPurpose.OPEN, position_id=7, max_slippage_points=10, horizon_s=60,
        expires_ns=9, model="m", version=1,
    ),
    SIGNER,
)
STAMPS = {"seq", "step", "ts_init_ns"}


def test_what_risk_signed_is_genuine_also_after_the_way_over_the_wire():
    assert approval_is_genuine(ORDER, VERIFIER)
    assert approval_is_genuine(Codec().decode(encode(ORDER)), VERIFIER)


def test_the_same_approval_has_the_same_signature():
    assert sign_approval(ORDER, SIGNER) == ORDER


def test_the_runtimes_stamps_may_change():
    assert approval_is_genuine(msgspec.structs.replace(ORDER, seq=4, step=5, ts_init_ns=7), VERIFIER)


@pytest.mark.parametrize("name", [name for name in OrderApproved.__struct_fields__ if name not in STAMPS])
def test_any_field_changed_breaks_the_signature(name):
    value = getattr(ORDER, name)
    if isinstance(value, Side):
        other = value.opposite
    elif isinstance(value, OrderPurpose):
        other = OrderPurpose.REDUCE
    elif isinstance(value, str):
        other = value[:-1] + ("0" if value[-1] != "0" else "1")
    else:
        other = value + (1 if isinstance(value, int) else 1e-9)
    assert not approval_is_genuine(msgspec.structs.replace(ORDER, **{name: other}), VERIFIER)


def test_another_key_is_not_risks_even_if_it_claims_to_be():
    forged = sign_approval(ORDER, OTHER)
    assert not approval_is_genuine(forged, VERIFIER)
    assert not approval_is_genuine(msgspec.structs.replace(forged, key_id=SIGNER.key_id), VERIFIER)


@given(st.text(max_size=200))
def test_a_made_up_signature_is_never_genuine_and_never_raises(signature):
    assert not approval_is_genuine(msgspec.structs.replace(ORDER, signature=signature), VERIFIER)


@settings(max_examples=50)
@given(st.binary(max_size=100), st.binary(max_size=100))
def test_a_signature_holds_for_its_own_content_only(content, other):
    signature = SIGNER.sign(content)
    assert VERIFIER.verify(content, signature)
    assert VERIFIER.verify(other, signature) == (content == other)


def test_a_key_id_is_short_and_its_own():
    assert len(key_id_of(SIGNER.public_bytes)) == 16
    assert SIGNER.key_id == VERIFIER.key_id != OTHER.key_id


def test_keys_are_made_once_and_readable_by_their_owner_alone(tmp_path):
    ensure_keys(tmp_path)
    first = {name: read_key(tmp_path, f"{name}.key") for name in SIGNERS}
    ensure_keys(tmp_path)
    assert {name: read_key(tmp_path, f"{name}.key") for name in SIGNERS} == first
    assert len(set(first.values())) == len(SIGNERS)
    for name in SIGNERS:
        assert (tmp_path / "keys" / f"{name}.key").stat().st_mode & 0o077 == 0
        assert read_key(tmp_path, f"{name}.pub") == Signer(first[name]).public_bytes


def test_passwords_are_kept_and_new_users_get_their_own(tmp_path):
    first = ensure_passwords(tmp_path, ("risk",))
    second = ensure_passwords(tmp_path, ("risk", "api"))
    assert second["risk"] == first["risk"] != second["api"]
    assert (tmp_path / "keys" / "passwords.json").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        (lambda file: file.unlink(), "tickwire keys init"),
        (lambda file: file.write_bytes(b"short"), "5 bytes"),
        (lambda file: file.chmod(0o644), "chmod 600"),
    ],
)
def test_a_key_that_is_missing_cut_or_open_to_all_is_refused_with_the_remedy(tmp_path, damage, problem):
    ensure_keys(tmp_path)
    damage(tmp_path / "keys" / "risk.key")
    with pytest.raises(ConfigError, match=problem) as caught:
        read_key(tmp_path, "risk.key")
    assert "risk.key" in str(caught.value)


def test_a_damaged_password_file_is_named_with_the_remedy(tmp_path):
    ensure_passwords(tmp_path, ("risk",))
    (tmp_path / "keys" / "passwords.json").write_text('{"risk": ')
    with pytest.raises(ConfigError, match=r"passwords\.json.*Delete it"):
        ensure_passwords(tmp_path, ("risk",))
