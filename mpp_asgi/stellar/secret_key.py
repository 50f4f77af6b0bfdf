"""Secret keys as people hand them in. Whatever is wrong with one, no error repeats it."""

from __future__ import annotations

from stellar_sdk import Keypair, StrKey

FORM = "it begins with S and has 56 characters"


def key_from_secret(secret: object) -> Keypair:
    """The key; white space around the secret is left out, as files end with a line break.

    Raises:
        TypeError: it is no text. The message is one sentence, and so is the next.
        ValueError: it is no secret key.
    """
    if secret is None:
        raise TypeError(f"There is no secret key: {FORM}.")
    if not isinstance(secret, str):
        raise TypeError(f"A secret key is a text, not {type(secret).__name__}: {FORM}.")
    stripped = secret.strip()
    # Asked first, because what the SDK raises has the secret in its text.
    if not StrKey.is_valid_ed25519_secret_seed(stripped):
        raise ValueError(f"That is not a secret key: {FORM}.")
    return Keypair.from_secret(stripped)
