# pragma version 0.4.3
"""
@title Words kept as the code of an account that answers every call with them
@license Apache-2.0
@dev Reading costs one cold account instead of one cold slot per word, and writing 6,400 gas a word instead of
     22,100. Such an account can do nothing else, and nobody can change it.
"""

# Copies everything after its own eleven bytes to memory and returns it:
# PUSH1 11, CODESIZE, SUB, DUP1, PUSH1 11, PUSH0, CODECOPY, PUSH0, RETURN
RETURN_THE_REST: constant(Bytes[11]) = x"600b380380600b5f395ff3"

# 1, and all but the highest bit, in every 64 bits
LANES: constant(uint256) = max_value(uint256) // (2**64 - 1)
LOW_63: constant(uint256) = LANES * (2**63 - 1)

MAX_WORDS: constant(uint256) = 160
MAX_BYTES: constant(uint256) = 32 * MAX_WORDS


@internal
def _write(words: DynArray[uint256, MAX_WORDS]) -> uint256:
    """
    @notice The address, as a number, of a new account that answers with `words`.
    """
    # Twice: the first runs at creation and returns the second, with the words, as the account's code.
    account: address = raw_create(
        concat(
            RETURN_THE_REST,
            RETURN_THE_REST,
            slice(abi_encode(words), 64, 32 * len(words)),
        )
    )
    return convert(convert(account, uint160), uint256)


@internal
@view
def _read(account: uint256) -> Bytes[MAX_BYTES]:
    """
    @notice The words of the account at the lowest 160 bits of `account`.
    """
    return raw_call(
        convert(convert(account & (2**160 - 1), uint160), address),
        b"",
        max_outsize=MAX_BYTES,
        is_static_call=True,
    )


@internal
@view
def _lists(account: uint256, serial: uint256) -> bool:
    """
    @notice Whether one of the words of `account`, four numbers of 64 bits each, holds the low 64 bits of
            `serial`. No account lists nothing.
    """
    if account & (2**160 - 1) == 0:
        return False
    listed: Bytes[MAX_BYTES] = self._read(account)
    wanted: uint256 = (serial & (2**64 - 1)) * LANES
    at: uint256 = 0
    for i: uint256 in range(len(listed) // 32, bound=MAX_WORDS):
        different: uint256 = convert(extract32(listed, at), uint256) ^ wanted
        # All ones unless a lane is zero; exact, because no carry leaves a lane.
        if ((different & LOW_63) + LOW_63) | different | LOW_63 != max_value(uint256):
            return True
        at = unsafe_add(at, 32)
    return False
