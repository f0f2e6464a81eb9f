"""Ed25519 over canonical bytes: who approved an order, who trained a model."""

import hashlib

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from libs.common.codec import encode
from libs.common.messages.orders import OrderApproved


class Signer:
    """Signs with one private key.

    Parameters
    ----------
    seed : 32 bytes, the Ed25519 private key
    """

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_bytes = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.key_id = key_id_of(self.public_bytes)

    def sign(self, content: bytes) -> str:
        """Return the signature in hex; the same content always gives the same signature."""
        return self._key.sign(content).hex()


class Verifier:
    """Checks signatures of one public key.

    Parameters
    ----------
    public_bytes : 32 bytes, the Ed25519 public key
    """

    def __init__(self, public_bytes: bytes) -> None:
        self._key = Ed25519PublicKey.from_public_bytes(public_bytes)
        self.key_id = key_id_of(public_bytes)

    def verify(self, content: bytes, signature: str) -> bool:
        """Tell whether the key's owner signed exactly this content."""
        try:
            self._key.verify(bytes.fromhex(signature), content)
        except (InvalidSignature, ValueError):
            return False
        return True


def key_id_of(public_bytes: bytes) -> str:
    """Return the short name of a public key: 16 hex digits."""
    return hashlib.sha256(public_bytes).hexdigest()[:16]


def approval_bytes(order: OrderApproved) -> bytes:
    """Return what an approval's signature covers: all of it but the signature and the runtime's stamps."""
    return encode(msgspec.structs.replace(order, signature="", seq=0, step=0, ts_init_ns=0))


def sign_approval(order: OrderApproved, signer: Signer) -> OrderApproved:
    """Return the approval with its signature."""
    named = msgspec.structs.replace(order, key_id=signer.key_id)
    return msgspec.structs.replace(named, signature=signer.sign(approval_bytes(named)))


def approval_is_genuine(order: OrderApproved, verifier: Verifier) -> bool:
    """Tell whether risk signed this approval."""
    return order.key_id == verifier.key_id and verifier.verify(approval_bytes(order), order.signature)
