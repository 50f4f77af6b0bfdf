"""Signatures of envelopes: which of them count for which signer."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import sha256
from typing import TYPE_CHECKING

from nacl.bindings import crypto_sign_open
from nacl.exceptions import BadSignatureError

from mpp_asgi.sandbox.wire.entries import Signer, SignerKey, SignerKind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mpp_asgi.sandbox.wire.entries import Account
    from mpp_asgi.sandbox.wire.transactions import Signature

_CACHED = 4_096


class Verifier:
    """Checks ed25519 signatures and remembers the answers: each is asked for when a transaction is
    simulated, submitted and applied.
    """

    def __init__(self) -> None:
        self._known: OrderedDict[bytes, bool] = OrderedDict()

    def __call__(self, public_key: bytes, message: bytes, signature: bytes) -> bool:
        if len(signature) != 64:
            return False
        question = public_key + signature + message
        known = self._known.get(question)
        if known is None:
            known = _verify(public_key, message, signature)
            self._known[question] = known
            if len(self._known) > _CACHED:
                self._known.popitem(last=False)
        return known


def _verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    try:
        crypto_sign_open(signature + message, public_key)
    except (BadSignatureError, ValueError):
        return False
    return True


_PRIME = 2**255 - 19
_D = -121665 * pow(121666, -1, _PRIME) % _PRIME


def is_curve_point(public_key: bytes) -> bool:
    """Whether 32 bytes stand for a point of the curve at all (RFC 8032, section 5.1.3)."""
    y_squared = (int.from_bytes(public_key, "little") % 2**255) ** 2 % _PRIME
    x_squared = (y_squared - 1) * pow(_D * y_squared + 1, -1, _PRIME) % _PRIME
    return pow(x_squared, (_PRIME - 1) // 2, _PRIME) in {0, 1}


class SignatureChecker:
    """The signatures of one envelope; remembers which of them were needed for something."""

    def __init__(
        self, contents_hash: bytes, signatures: Sequence[Signature], verifier: Verifier
    ) -> None:
        self._hash = contents_hash
        self._signatures = signatures
        self._used = [False] * len(signatures)
        self._verify = verifier

    def account(self, account: Account, needed: int) -> bool:
        """Whether the account's signers sign with at least the weight ``needed``."""
        signers = list(account.signers)
        if account.master_weight:
            master = SignerKey(SignerKind.ED25519, account.public_key)
            signers.insert(0, Signer(master, account.master_weight))
        return self.check(signers, needed)

    def missing_account(self, public_key: bytes) -> bool:
        """Whether the key of an account that does not exist signs."""
        return self.check([Signer(SignerKey(SignerKind.ED25519, public_key), 1)], 0)

    def check(self, signers: Iterable[Signer], needed: int) -> bool:
        total = 0
        left = list(signers)
        for signer in left:
            if signer.key.kind == SignerKind.PRE_AUTH_TX and signer.key.key == self._hash:
                total += min(signer.weight, 255)
                if total >= needed:
                    return True
        for kind in (SignerKind.HASH_X, SignerKind.ED25519, SignerKind.SIGNED_PAYLOAD):
            group = [signer for signer in left if signer.key.kind == kind]
            for index, signature in enumerate(self._signatures):
                signer_found = next((s for s in group if self._matches(s.key, signature)), None)
                if signer_found is None:
                    continue
                self._used[index] = True
                total += min(signer_found.weight, 255)
                if total >= needed:
                    return True
                group.remove(signer_found)
        return False

    def all_used(self) -> bool:
        return all(self._used)

    def _matches(self, key: SignerKey, signature: Signature) -> bool:
        if key.kind == SignerKind.HASH_X:
            is_hinted = signature.hint == key.key[-4:]
            return is_hinted and sha256(signature.value).digest() == key.key
        if key.kind == SignerKind.ED25519:
            return signature.hint == key.key[-4:] and self._verify(
                key.key, self._hash, signature.value
            )
        return signature.hint == _payload_hint(key) and self._verify(
            key.key, key.payload, signature.value
        )


def _payload_hint(key: SignerKey) -> bytes:
    """The key's hint xored with the last four bytes of the payload, or all of it if shorter."""
    tail = key.payload[-4:].ljust(4, b"\0")
    return bytes(a ^ b for a, b in zip(key.key[-4:], tail, strict=True))
