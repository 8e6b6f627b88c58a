# SPDX-License-Identifier: GPL-3.0-or-later
"""BLAKE3 in plain Python, so that the independent journal reader needs nothing installed.

Written from the public BLAKE3 specification. Only the default hash with 32 bytes of output is
here: no keyed mode, no key derivation, no extended output. It is slow, and meant to be.
"""

import struct

_INITIAL = (
    0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
    0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19,
)
_PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
# Which four words of the state each of a round's eight mixings works on: columns, then diagonals.
_MIXINGS = (
    (0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15),
    (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14),
)
_CHUNK_START, _CHUNK_END, _PARENT, _ROOT = 1, 2, 4, 8
_CHUNK_BYTES, _BLOCK_BYTES = 1024, 64
_MASK = 0xFFFFFFFF


def _schedules():
    """The order of the message words in each of the seven rounds."""
    order = list(range(16))
    schedules = []
    for _ in range(7):
        schedules.append(tuple(order))
        order = [order[index] for index in _PERMUTATION]
    return tuple(schedules)


_SCHEDULES = _schedules()


def _compress(chaining, block, counter, block_length, flags):
    """One application of the compression function; returns the eight words that go on."""
    words = struct.unpack("<16I", block)
    state = [
        *chaining, *_INITIAL[:4],
        counter & _MASK, (counter >> 32) & _MASK, block_length, flags,
    ]
    for schedule in _SCHEDULES:
        for number, (a, b, c, d) in enumerate(_MIXINGS):
            va, vb, vc, vd = state[a], state[b], state[c], state[d]
            va = (va + vb + words[schedule[2 * number]]) & _MASK
            vd ^= va
            vd = (vd >> 16 | vd << 16) & _MASK
            vc = (vc + vd) & _MASK
            vb ^= vc
            vb = (vb >> 12 | vb << 20) & _MASK
            va = (va + vb + words[schedule[2 * number + 1]]) & _MASK
            vd ^= va
            vd = (vd >> 8 | vd << 24) & _MASK
            vc = (vc + vd) & _MASK
            vb ^= vc
            vb = (vb >> 7 | vb << 25) & _MASK
            state[a], state[b], state[c], state[d] = va, vb, vc, vd
    return tuple(state[index] ^ state[index + 8] for index in range(8))


def _chunk(data, number, root):
    """The chaining value of one chunk of at most 1024 bytes."""
    chaining = _INITIAL
    last = max(0, (len(data) - 1) // _BLOCK_BYTES)
    for index in range(last + 1):
        block = data[index * _BLOCK_BYTES:(index + 1) * _BLOCK_BYTES]
        flags = (_CHUNK_START if index == 0 else 0) | (_CHUNK_END if index == last else 0)
        if index == last and root:
            flags |= _ROOT
        padded = block.ljust(_BLOCK_BYTES, b"\0")
        chaining = _compress(chaining, padded, number, len(block), flags)
    return chaining


def _tree(data, first_chunk, root):
    """The chaining value of a subtree: its left side is the largest whole power of two."""
    if len(data) <= _CHUNK_BYTES:
        return _chunk(data, first_chunk, root)
    chunks_left = 1 << (((len(data) - 1) // _CHUNK_BYTES).bit_length() - 1)
    split = chunks_left * _CHUNK_BYTES
    left = _tree(data[:split], first_chunk, False)
    right = _tree(data[split:], first_chunk + chunks_left, False)
    flags = _PARENT | (_ROOT if root else 0)
    return _compress(_INITIAL, struct.pack("<16I", *left, *right), 0, _BLOCK_BYTES, flags)


def blake3(data):
    """The 32-byte BLAKE3 hash of some bytes."""
    return struct.pack("<8I", *_tree(bytes(data), 0, True))
