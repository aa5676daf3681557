"""One random generator per object, so that a prompt depends on neither order, batch nor machine."""

import hashlib

import numpy as np


def object_rng(*parts: int | str) -> np.random.Generator:
    """A generator seeded by names and numbers (seed, epoch, image id, object id, protocol, ...).

    The parts are hashed (BLAKE2b, 128 bits): neighbouring seeds give unrelated streams, and the
    same parts give the same stream on every machine.
    """
    text = "\x1f".join(str(part) for part in parts)
    digest = hashlib.blake2b(text.encode(), digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))
