# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy on
"""
@title Market: attested scores become prices, and a model's key and its money change hands atomically
@license Apache-2.0
@notice Immutable, without owner, without upgrade. Storage holds one word per thing, keyed by the hash of
        its terms; terms live in events and in the calldata of whoever acts on them. docs/spec/contracts.md
        states every byte.

        Life: open_benchmark, submit, accept (an enclave's result, which sets the price), order (money
        against a hashlock), claim (the preimage against the money). Every lock has a deadline: refund
        takes back an order, reclaim_fee a fee that bought no result.

        Solvency. For ETH and for every token that moves exactly what it is told to,

            balance of this contract
                = sum of open orders + sum of credits + (ETH only) sum of fees of open submissions

        plus whatever somebody gave it unasked. Other tokens (fee on transfer after the pull, rebasing,
        lying) can break that for themselves alone: nothing here moves one token on account of another.

        Order of every function: checks, effects, interactions. All externals share one lock
        (transient storage). Pushes to receivers cannot fail a sale: what cannot be pushed is credited
        and withdrawn by its owner.
"""

from interfaces import IEnclaveRegistry
from modules import anchors
from modules import pricing
from modules import signatures
from modules import transfers


struct Sale:
    # empty(address) for ETH
    token: address
    royalty_recipient: address
    # parts of 10,000 of the price
    royalty_bps: uint256


struct Benchmark:
    owner: address
    sale: Sale
    spec_digest: bytes32
    testset_digest: bytes32
    # which enclaves count: IQuoteVerifier, measurement, configuration, least assurance, TCB statuses
    verifier: address
    measurement: bytes32
    config_digest: bytes32
    assurance: uint256
    # bit i allows TCB status i; 0b1 is strict
    tcb_allowed: uint256
    # results per submission: 1, 3 or 5
    quorum: uint256
    fee_wei: uint256
    # submissions per developer
    submission_cap: uint256
    # a developer's score moves only by at least this much
    step_ppm: uint256
    # unix seconds, inclusive
    submissions_close: uint256
    # seconds from a submission to its result_deadline
    result_window_s: uint256
    curve: DynArray[pricing.CurvePoint, 8]


struct Submission:
    benchmark_id: bytes32
    developer: address
    payee: address
    # of the ciphertext
    content_digest: bytes32
    secret_commitment: bytes32
    # keccak256 of the sealed keys in the Submitted event
    sealed_digest: bytes32
    # least price, in the sale's token
    reserve: uint256


struct SignedResult:
    # 1 scored, 2 model failed
    outcome: uint256
    score_ppm: uint256
    bound_ppm: uint256
    worker: address
    anchor_number: uint256
    anchor_hash: bytes32
    evidence_digest: bytes32
    v: uint256
    r: bytes32
    s: bytes32


struct Item:
    body_hash: bytes32
    buyer_key: bytes32
    hashlock: bytes32


event BenchmarkOpened:
    benchmark_id: indexed(bytes32)
    owner: indexed(address)
    benchmark: Benchmark
    sealed_keys: Bytes[4096]
    metadata: String[1024]


event BenchmarkClosed:
    benchmark_id: indexed(bytes32)


event Submitted:
    submission_id: indexed(bytes32)
    benchmark_id: indexed(bytes32)
    developer: indexed(address)
    payee: address
    content_digest: bytes32
    secret_commitment: bytes32
    reserve: uint256
    sealed_keys: Bytes[1024]


event Attested:
    submission_id: indexed(bytes32)
    enclave: indexed(address)
    worker: address
    outcome: uint256
    score_ppm: uint256
    bound_ppm: uint256
    anchor_number: uint256
    evidence_digest: bytes32
    # credited to the worker
    fee_wei: uint256


event Scored:
    submission_id: indexed(bytes32)
    benchmark_id: indexed(bytes32)
    state: uint256
    # the developer's published best after this result
    score_ppm: uint256
    bound_ppm: uint256
    price: uint256


event Ordered:
    submission_id: indexed(bytes32)
    buyer: indexed(address)
    order_id: bytes32
    hashlock: bytes32
    deadline: uint256
    buyer_key: bytes32
    amount: uint256


event Claimed:
    order_id: indexed(bytes32)
    preimage: bytes32


event Refunded:
    order_id: indexed(bytes32)


event FeeReclaimed:
    submission_id: indexed(bytes32)


event Credited:
    token: indexed(address)
    account: indexed(address)
    amount: uint256


event Withdrawn:
    token: indexed(address)
    account: indexed(address)
    to: address
    amount: uint256


# States of benchmarks and of submissions, in the low 8 bits of their words.
BENCHMARK_OPEN: constant(uint256) = 1
BENCHMARK_CLOSED: constant(uint256) = 2
OPEN: constant(uint256) = 1
PRICED: constant(uint256) = 2
UNPRICED: constant(uint256) = 3
FAILED: constant(uint256) = 4
RECLAIMED: constant(uint256) = 5

SCORED: constant(uint256) = 1
MODEL_FAILED: constant(uint256) = 2
ENCLAVE_REGISTERED: constant(uint256) = 1

MASK_8: constant(uint256) = 2**8 - 1
MASK_16: constant(uint256) = 2**16 - 1
MASK_24: constant(uint256) = 2**24 - 1
MASK_32: constant(uint256) = 2**32 - 1
MASK_40: constant(uint256) = 2**40 - 1
MASK_88: constant(uint256) = 2**88 - 1
MASK_96: constant(uint256) = 2**96 - 1

MAX_BPS: constant(uint256) = 10_000
MAX_QUORUM: constant(uint256) = 5
MAX_ITEMS: constant(uint256) = 16
HARDWARE: constant(uint256) = 2
# Statuses 0 to 5; Revoked (6) can never be allowed.
ALL_TCB_STATUSES: constant(uint256) = 2**6 - 1
MAX_ORDER_S: constant(uint256) = 30 * 86_400
MAX_RESULT_WINDOW_S: constant(uint256) = 30 * 86_400

DOMAIN_TYPE: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
RESULT_TYPE: constant(bytes32) = keccak256(
    "Result(bytes32 submissionId,uint8 outcome,uint32 scorePpm,uint32 boundPpm,address worker,uint64 anchorNumber,bytes32 anchorHash,bytes32 evidenceDigest)"
)

REGISTRY: public(immutable(address))
DOMAIN_SEPARATOR: public(immutable(bytes32))


# slot 0: state (8) | cap << 8 (16) | submissions_close << 24 (40) | result_window_s << 64 (32) | fee_wei << 96 (96)
benchmarks: public(HashMap[bytes32, uint256])

# slot 1: OPEN | result_deadline << 8 (40) | fee_wei << 48 (96), or PRICED | price << 8 (88) | payee << 96 (160),
#         or UNPRICED, FAILED, RECLAIMED alone
submissions: public(HashMap[bytes32, uint256])

# slot 2: has an open submission (8) | count << 8 (16) | best score_ppm << 24 (24) | best bound_ppm << 48 (24)
records: public(HashMap[bytes32, uint256])

# slot 3: amount (96) | payee << 96 (160); 0 once claimed or refunded
orders: public(HashMap[bytes32, uint256])

# slot 4: token -> account -> amount
credits: public(HashMap[address, HashMap[address, uint256]])


@deploy
def __init__(registry: address):
    assert registry.is_contract, "market: registry has no code"
    REGISTRY = registry
    DOMAIN_SEPARATOR = keccak256(
        abi_encode(DOMAIN_TYPE, keccak256("GoldenGrain Market"), keccak256("1"), chain.id, self)
    )


# Benchmarks


@external
def open_benchmark(benchmark: Benchmark, sealed_keys: Bytes[4096], metadata: String[1024]) -> bytes32:
    """
    @notice Opens a benchmark under terms that can never change.
    @param sealed_keys The test set's secret, sealed to enclaves.
    @param metadata For people and catalogues; the contract gives it no meaning.
    """
    assert benchmark.owner == msg.sender, "market: not the owner"
    assert benchmark.sale.royalty_bps <= MAX_BPS, "market: royalty above the price"
    assert (
        benchmark.sale.royalty_bps == 0 or benchmark.sale.royalty_recipient != empty(address)
    ), "market: royalty for nobody"
    assert benchmark.assurance == 1 or benchmark.assurance == HARDWARE, "market: bad assurance"
    assert (
        benchmark.tcb_allowed != 0 and benchmark.tcb_allowed <= ALL_TCB_STATUSES
    ), "market: bad tcb statuses"
    assert benchmark.quorum <= MAX_QUORUM and benchmark.quorum % 2 == 1, "market: bad quorum"
    assert benchmark.fee_wei <= MASK_96, "market: fee too high"
    assert benchmark.submission_cap != 0 and benchmark.submission_cap <= MASK_16, "market: bad submission cap"
    assert benchmark.step_ppm != 0 and benchmark.step_ppm <= pricing.MAX_PPM, "market: bad step"
    assert (
        block.timestamp <= benchmark.submissions_close and benchmark.submissions_close <= MASK_40 - MAX_RESULT_WINDOW_S
    ), "market: bad closing time"
    assert (
        benchmark.result_window_s != 0 and benchmark.result_window_s <= MAX_RESULT_WINDOW_S
    ), "market: bad result window"
    assert pricing._is_valid_curve(benchmark.curve), "market: bad price curve"

    benchmark_id: bytes32 = keccak256(abi_encode(chain.id, self, benchmark))
    assert self.benchmarks[benchmark_id] == 0, "market: benchmark exists"
    self.benchmarks[benchmark_id] = (
        BENCHMARK_OPEN
        | (benchmark.submission_cap << 8)
        | (benchmark.submissions_close << 24)
        | (benchmark.result_window_s << 64)
        | (benchmark.fee_wei << 96)
    )
    log BenchmarkOpened(
        benchmark_id=benchmark_id,
        owner=msg.sender,
        benchmark=benchmark,
        sealed_keys=sealed_keys,
        metadata=metadata,
    )
    return benchmark_id


@external
def close_benchmark(benchmark: Benchmark):
    """
    @notice Ends submissions before their time. What was submitted is still scored and sold.
    """
    assert benchmark.owner == msg.sender, "market: not the owner"
    benchmark_id: bytes32 = keccak256(abi_encode(chain.id, self, benchmark))
    status: uint256 = self.benchmarks[benchmark_id]
    assert status & MASK_8 == BENCHMARK_OPEN, "market: benchmark not open"
    self.benchmarks[benchmark_id] = (status & ~MASK_8) | BENCHMARK_CLOSED
    log BenchmarkClosed(benchmark_id=benchmark_id)


# Submissions


@external
@payable
def submit(
    benchmark_id: bytes32,
    sale: Sale,
    payee: address,
    content_digest: bytes32,
    secret_commitment: bytes32,
    reserve: uint256,
    sealed_keys: Bytes[1024],
) -> bytes32:
    """
    @notice Commits the caller to a ciphertext and pays the benchmark's fee for its evaluation.
    @dev `sale` must be the benchmark's. It is not checked here, only hashed: under any other sale no
         result can ever be accepted, and the fee comes back by reclaim_fee.
    """
    status: uint256 = self.benchmarks[benchmark_id]
    assert status & MASK_8 == BENCHMARK_OPEN, "market: benchmark not open"
    assert block.timestamp <= (status >> 24) & MASK_40, "market: submissions closed"
    assert msg.value == status >> 96, "market: wrong fee"
    assert payee != empty(address), "market: no payee"
    assert reserve <= MASK_88, "market: reserve too high"

    record_id: bytes32 = keccak256(abi_encode(benchmark_id, msg.sender))
    record: uint256 = self.records[record_id]
    assert record & MASK_8 == 0, "market: another submission is open"
    assert (record >> 8) & MASK_16 < (status >> 8) & MASK_16, "market: submission cap reached"

    submission_id: bytes32 = self._submission_id(
        sale,
        Submission(
            benchmark_id=benchmark_id,
            developer=msg.sender,
            payee=payee,
            content_digest=content_digest,
            secret_commitment=secret_commitment,
            sealed_digest=keccak256(sealed_keys),
            reserve=reserve,
        ),
    )
    assert self.submissions[submission_id] == 0, "market: submission exists"

    # the record gains an open submission and one more in its count
    self.records[record_id] = record + (1 | (1 << 8))
    self.submissions[submission_id] = (
        OPEN | ((block.timestamp + ((status >> 64) & MASK_32)) << 8) | (msg.value << 48)
    )
    log Submitted(
        submission_id=submission_id,
        benchmark_id=benchmark_id,
        developer=msg.sender,
        payee=payee,
        content_digest=content_digest,
        secret_commitment=secret_commitment,
        reserve=reserve,
        sealed_keys=sealed_keys,
    )
    return submission_id


@external
def accept(benchmark: Benchmark, submission: Submission, results: DynArray[SignedResult, MAX_QUORUM]):
    """
    @notice Turns the results of a quorum of registered enclaves into the submission's price. Anyone may
            call: the fee goes to the workers named inside the results.
    @param results Exactly `benchmark.quorum`, signers strictly ascending, each on another platform.
    """
    benchmark_id: bytes32 = keccak256(abi_encode(chain.id, self, benchmark))
    assert submission.benchmark_id == benchmark_id, "market: wrong benchmark"
    submission_id: bytes32 = self._submission_id(benchmark.sale, submission)
    status: uint256 = self.submissions[submission_id]
    assert status & MASK_8 == OPEN, "market: submission not open"
    assert block.timestamp <= (status >> 8) & MASK_40, "market: result too late"
    quorum: uint256 = len(results)
    assert quorum == benchmark.quorum, "market: wrong number of results"

    # 1. Every result is signed by its own enclave, on its own platform, of this benchmark's kind.
    share: uint256 = (status >> 48) & MASK_96
    remainder: uint256 = share % quorum
    share = share // quorum
    # 0 for a failed model, bound + 1 for a scored one
    ranks: DynArray[uint256, MAX_QUORUM] = []
    platforms: DynArray[uint256, MAX_QUORUM] = []
    previous: address = empty(address)
    for result: SignedResult in results:
        signer: address = self._verify_result(submission_id, result)
        assert convert(signer, uint256) > convert(previous, uint256), "market: signers not ascending"
        previous = signer

        enclave: uint256 = staticcall IEnclaveRegistry(REGISTRY).enclaves(
            keccak256(abi_encode(benchmark.verifier, signer, benchmark.measurement, benchmark.config_digest))
        )
        assert enclave & MASK_8 == ENCLAVE_REGISTERED, "market: enclave not registered"
        assert block.timestamp <= (enclave >> 8) & MASK_40, "market: enclave expired"
        assert (
            benchmark.tcb_allowed >> ((enclave >> 48) & MASK_8)
        ) & 1 == 1, "market: tcb status not allowed"
        assert (enclave >> 56) & MASK_8 >= benchmark.assurance, "market: assurance too low"
        platform: uint256 = enclave >> 64
        assert platform not in platforms, "market: platform counted twice"
        platforms.append(platform)

        rank: uint256 = 0
        if result.outcome == SCORED:
            rank = result.bound_ppm + 1
        ranks.append(rank)

        fee: uint256 = share + remainder
        remainder = 0
        if fee != 0:
            self.credits[transfers.ETH][result.worker] += fee
        log Attested(
            submission_id=submission_id,
            enclave=signer,
            worker=result.worker,
            outcome=result.outcome,
            score_ppm=result.score_ppm,
            bound_ppm=result.bound_ppm,
            anchor_number=result.anchor_number,
            evidence_digest=result.evidence_digest,
            fee_wei=fee,
        )

    # 2. The median counts; it moves the developer's best only by at least a step; the curve prices it.
    chosen: uint256 = self._median(ranks)
    record_id: bytes32 = keccak256(abi_encode(benchmark_id, submission.developer))
    record: uint256 = self.records[record_id]
    best_score_ppm: uint256 = (record >> 24) & MASK_24
    best_bound_ppm: uint256 = record >> 48
    bound_ppm: uint256 = results[chosen].bound_ppm
    state: uint256 = UNPRICED
    price: uint256 = 0
    if results[chosen].outcome == MODEL_FAILED:
        state = FAILED
    elif bound_ppm >= best_bound_ppm + benchmark.step_ppm:
        best_score_ppm = results[chosen].score_ppm
        best_bound_ppm = bound_ppm
        price = pricing._price_of(benchmark.curve, bound_ppm)
        if price != 0 and price >= submission.reserve:
            state = PRICED
        else:
            price = 0

    self.records[record_id] = (
        (record & (MASK_16 << 8)) | (best_score_ppm << 24) | (best_bound_ppm << 48)
    )
    if state == PRICED:
        self.submissions[submission_id] = PRICED | (price << 8) | (convert(submission.payee, uint256) << 96)
    else:
        self.submissions[submission_id] = state
    log Scored(
        submission_id=submission_id,
        benchmark_id=benchmark_id,
        state=state,
        score_ppm=best_score_ppm,
        bound_ppm=best_bound_ppm,
        price=price,
    )


@external
def reclaim_fee(sale: Sale, submission: Submission):
    """
    @notice Returns the fee of a submission that got no result by its deadline, to its developer.
            Anyone may call.
    """
    submission_id: bytes32 = self._submission_id(sale, submission)
    status: uint256 = self.submissions[submission_id]
    assert status & MASK_8 == OPEN, "market: submission not open"
    assert block.timestamp > (status >> 8) & MASK_40, "market: result not late"
    self.submissions[submission_id] = RECLAIMED
    record_id: bytes32 = keccak256(abi_encode(submission.benchmark_id, submission.developer))
    self.records[record_id] = self.records[record_id] & ~MASK_8
    log FeeReclaimed(submission_id=submission_id)
    self._pay(transfers.ETH, submission.developer, (status >> 48) & MASK_96)


# Orders


@external
@payable
def order(sale: Sale, deadline: uint256, items: DynArray[Item, MAX_ITEMS]):
    """
    @notice Locks the price of each item against its hashlock, payable to that submission's payee.
            An order's id is keccak256(abi_encode(hashlock, buyer, deadline, sale)).
    @dev The caller has checked off chain that each hashlock is the one an enclave offered for its
         `buyer_key`, and that it holds the ciphertext.
    @param deadline Unix seconds, at most 30 days away; afterwards refund returns what was not claimed.
    """
    self._collect(sale.token, self._open_orders(sale, deadline, items))


@external
def order_with_permit(
    sale: Sale,
    deadline: uint256,
    items: DynArray[Item, MAX_ITEMS],
    permit_deadline: uint256,
    v: uint8,
    r: bytes32,
    s: bytes32,
):
    """
    @notice `order` with an EIP-2612 permit for exactly the sum. A permit that fails is ignored and the
            allowance decides, so nobody can block an order by using up its permit first.
    """
    assert sale.token != transfers.ETH, "market: ETH needs no permit"
    total: uint256 = self._open_orders(sale, deadline, items)
    permitted: bool = raw_call(
        sale.token,
        abi_encode(
            msg.sender,
            self,
            total,
            permit_deadline,
            v,
            r,
            s,
            method_id=method_id("permit(address,address,uint256,uint256,uint8,bytes32,bytes32)"),
        ),
        revert_on_failure=False,
    )
    self._collect(sale.token, total)


@external
def claim(sale: Sale, buyer: address, deadline: uint256, preimage: bytes32):
    """
    @notice Reveals the preimage of an order's hashlock and pays the payee, whoever calls.
    @dev Holds until the order is refunded, also after its deadline. But revealing a preimage that late
         races the refund: a developer claims well before.
    """
    order_id: bytes32 = keccak256(abi_encode(keccak256(preimage), buyer, deadline, sale))
    status: uint256 = self.orders[order_id]
    assert status != 0, "market: no such order"
    self.orders[order_id] = 0
    log Claimed(order_id=order_id, preimage=preimage)

    amount: uint256 = status & MASK_96
    if sale.royalty_bps != 0:
        royalty: uint256 = amount * sale.royalty_bps // MAX_BPS
        self._credit(sale.token, sale.royalty_recipient, royalty)
        amount -= royalty
    self._pay(sale.token, convert(status >> 96, address), amount)


@external
def refund(sale: Sale, buyer: address, deadline: uint256, hashlock: bytes32):
    """
    @notice Returns an order that was not claimed by its deadline to its buyer, whoever calls.
    """
    assert block.timestamp > deadline, "market: order not expired"
    order_id: bytes32 = keccak256(abi_encode(hashlock, buyer, deadline, sale))
    status: uint256 = self.orders[order_id]
    assert status != 0, "market: no such order"
    self.orders[order_id] = 0
    log Refunded(order_id=order_id)
    self._pay(sale.token, buyer, status & MASK_96)


@external
def withdraw(token: address, to: address):
    """
    @notice Sends all that is credited to the caller in `token` (empty(address) for ETH) to `to`.
    """
    assert to != empty(address) and to != self, "market: no receiver"
    amount: uint256 = self.credits[token][msg.sender]
    assert amount != 0, "market: nothing credited"
    self.credits[token][msg.sender] = 0
    log Withdrawn(token=token, account=msg.sender, to=to, amount=amount)
    transfers._send(token, to, amount)


@external
@pure
def price_of(curve: DynArray[pricing.CurvePoint, 8], bound_ppm: uint256) -> uint256:
    """
    @notice What a valid curve pays for a score bound.
    """
    return pricing._price_of(curve, bound_ppm)


# Internal


@internal
@view
def _submission_id(sale: Sale, submission: Submission) -> bytes32:
    return keccak256(abi_encode(sale, keccak256(abi_encode(chain.id, self, submission))))


@internal
@view
def _verify_result(submission_id: bytes32, result: SignedResult) -> address:
    """
    @notice The address that signed this well-formed result, whose anchor is a recent block of this chain.
    """
    assert result.outcome == SCORED or result.outcome == MODEL_FAILED, "market: bad outcome"
    assert result.score_ppm <= pricing.MAX_PPM and result.bound_ppm <= pricing.MAX_PPM, "market: bad score"
    assert (
        result.outcome == SCORED or (result.score_ppm == 0 and result.bound_ppm == 0)
    ), "market: failed model with a score"
    assert result.worker != empty(address), "market: no worker"
    assert anchors._is_ancestor(result.anchor_number, result.anchor_hash), "market: unknown anchor"
    signer: address = signatures._recover(
        keccak256(
            concat(
                b"\x19\x01",
                DOMAIN_SEPARATOR,
                keccak256(
                    abi_encode(
                        RESULT_TYPE,
                        submission_id,
                        result.outcome,
                        result.score_ppm,
                        result.bound_ppm,
                        result.worker,
                        result.anchor_number,
                        result.anchor_hash,
                        result.evidence_digest,
                    )
                ),
            )
        ),
        result.v,
        result.r,
        result.s,
    )
    assert signer != empty(address), "market: bad signature"
    return signer


@internal
@pure
def _median(ranks: DynArray[uint256, MAX_QUORUM]) -> uint256:
    """
    @notice The index of the median of an odd number of ranks; of equal ranks the earlier is the lower.
    """
    count: uint256 = len(ranks)
    if count == 1:
        return 0
    for i: uint256 in range(count, bound=MAX_QUORUM):
        below: uint256 = 0
        for j: uint256 in range(count, bound=MAX_QUORUM):
            if ranks[j] < ranks[i] or (ranks[j] == ranks[i] and j < i):
                below += 1
        if below == count // 2:
            return i
    raise "market: no median"


@internal
def _open_orders(sale: Sale, deadline: uint256, items: DynArray[Item, MAX_ITEMS]) -> uint256:
    """
    @notice Opens an order of the caller for each item and returns the sum to collect.
    """
    assert block.timestamp < deadline and deadline <= block.timestamp + MAX_ORDER_S, "market: bad deadline"
    assert len(items) != 0, "market: no items"
    total: uint256 = 0
    for item: Item in items:
        submission_id: bytes32 = keccak256(abi_encode(sale, item.body_hash))
        status: uint256 = self.submissions[submission_id]
        assert status & MASK_8 == PRICED, "market: not for sale"
        amount: uint256 = (status >> 8) & MASK_88
        order_id: bytes32 = keccak256(abi_encode(item.hashlock, msg.sender, deadline, sale))
        assert self.orders[order_id] == 0, "market: order exists"
        self.orders[order_id] = amount | ((status >> 96) << 96)
        total += amount
        log Ordered(
            submission_id=submission_id,
            buyer=msg.sender,
            order_id=order_id,
            hashlock=item.hashlock,
            deadline=deadline,
            buyer_key=item.buyer_key,
            amount=amount,
        )
    return total


@internal
@payable
def _collect(token: address, total: uint256):
    if token == transfers.ETH:
        assert msg.value == total, "market: wrong payment"
    else:
        assert msg.value == 0, "market: wrong payment"
        transfers._pull(token, msg.sender, total)


@internal
def _pay(token: address, to: address, amount: uint256):
    """
    @notice Pushes `amount` to `to`, or credits it where the push fails.
    """
    if amount == 0:
        return
    if not transfers._push(token, to, amount):
        self._credit(token, to, amount)


@internal
def _credit(token: address, account: address, amount: uint256):
    if amount == 0:
        return
    self.credits[token][account] += amount
    log Credited(token=token, account=account, amount=amount)
