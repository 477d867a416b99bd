# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy off
"""
@title A verifier that says what it is told to, and calls back if it is told to; for tests only
"""

from interfaces import IQuoteVerifier

implements: IQuoteVerifier

verdict: IQuoteVerifier.QuoteVerdict
revoked: public(HashMap[bytes32, bool])
hook_target: public(address)
hook_data: public(Bytes[4096])
hook_successes: public(uint256)


@external
def set_verdict(verdict: IQuoteVerifier.QuoteVerdict):
    self.verdict = verdict


@external
def set_revoked(platform: bytes32, yes: bool):
    self.revoked[platform] = yes


@external
def set_hook(target: address, data: Bytes[4096]):
    self.hook_target = target
    self.hook_data = data


@external
def verify_quote(quote: Bytes[8192], evidence: Bytes[16384]) -> IQuoteVerifier.QuoteVerdict:
    if self.hook_target != empty(address):
        if raw_call(self.hook_target, self.hook_data, revert_on_failure=False):
            self.hook_successes += 1
    return self.verdict


@external
def platform_revoked(platform: bytes32, evidence: Bytes[16384]) -> bool:
    return self.revoked[platform]
