"""Words of the command line turned into values, and back: amounts, durations, ids, price curves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Final

import click

from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.types import ZERO_ADDRESS, Address, Hash32, hash32_from_hex

if TYPE_CHECKING:
    from rich.table import Column

    from goldengrain.chain.address_book import AddressBook

ETH: Final = "ETH"
ETH_DECIMALS: Final = 18
_UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class HashType(click.ParamType[Hash32]):
    """A 32-byte id in hexadecimal."""

    name = "ID"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Hash32:
        try:
            return hash32_from_hex(value) if isinstance(value, str) else Hash32(value)
        except InvalidInput as exc:
            self.fail(f"{value!r}: {exc.message}", param, ctx)


class DurationType(click.ParamType[int]):
    """Seconds, or a number with s, m, h or d."""

    name = "DURATION"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        match = re.fullmatch(r"(\d{1,9})([smhd]?)", str(value).strip())
        if match is None:
            self.fail(f"{value!r} is no duration; write for instance 90s, 30m, 24h or 7d", param, ctx)
        return int(match[1]) * _UNITS_S[match[2] or "s"]


HASH: Final = HashType()
DURATION: Final = DurationType()


def parse_amount(text: str, decimals: int) -> int:
    """Return a decimal amount in the smallest unit; a trailing currency word is ignored.

    Raises:
        InvalidInput: not a non-negative decimal number, or finer than the smallest unit.
    """
    word = re.sub(r"[A-Za-z$ ]+$", "", text.strip())
    try:
        value = Decimal(word)
    except InvalidOperation as exc:
        raise InvalidInput(f"{text!r} is no amount", next_step="write for instance 0.05") from exc
    if not value.is_finite() or value < 0 or value > Decimal(10) ** 40:
        raise InvalidInput(f"{text!r} is no amount")
    scaled = value.scaleb(decimals)
    if scaled != scaled.to_integral_value():
        raise InvalidInput(f"{text!r} is finer than the smallest unit ({decimals} decimals)")
    return int(scaled)


def format_amount(amount: int, decimals: int, symbol: str) -> str:
    """Return an exact decimal amount with its currency."""
    whole, part = divmod(amount, 10**decimals)
    digits = f"{part:0{decimals}d}".rstrip("0") if decimals else ""
    return f"{whole:,}{'.' + digits if digits else ''} {symbol}"


def token_by_symbol(book: AddressBook, symbol: str) -> tuple[Address, int]:
    """Return (address, decimals) of a currency that the address book lists; the zero address is ETH."""
    if symbol.upper() == ETH:
        return ZERO_ADDRESS, ETH_DECIMALS
    entry = book.token(symbol)
    return entry.address, entry.decimals


def symbol_of(book: AddressBook, token: Address) -> tuple[str, int]:
    """Return (symbol, decimals) of a token address; unknown tokens are shown in their smallest unit."""
    if token == ZERO_ADDRESS:
        return ETH, ETH_DECIMALS
    for entry in book.tokens:
        if entry.address == token:
            return entry.symbol, entry.decimals
    return f"units of 0x{token.hex()}", 0


def format_price(book: AddressBook, token: Address, amount: int | None) -> str:
    """Return a price for people; a dash where there is none."""
    if amount is None:
        return "-"
    symbol, decimals = symbol_of(book, token)
    return format_amount(amount, decimals, symbol)


def id_column(title: str) -> Column:
    """Return a table's column for ids, which are shown whole on the narrowest terminal: people copy them."""
    from rich.table import Column

    return Column(title, min_width=66, no_wrap=True)


def format_ppm(value: int | None) -> str:
    """Return a score as a fraction with four digits; a dash where there is none."""
    return "-" if value is None else f"{value / 1_000_000:.4f}"


def parse_listen(text: str, *, example: str) -> tuple[str, int]:
    """Return the host and port of a HOST:PORT word.

    Raises:
        InvalidInput: not such a word; the next step shows `example`.
    """
    host, separator, port = text.rpartition(":")
    if not separator or not port.isdigit() or int(port) > 65535:
        raise InvalidInput(f"{text!r} is no HOST:PORT", next_step=f"write for instance {example}")
    return host, int(port)


def parse_curve(points: Sequence[str], decimals: int) -> list[tuple[int, int]]:
    """Return `SCORE:PRICE` words as (score_ppm, price in the smallest unit).

    Raises:
        InvalidInput: a word that is no such pair.
    """
    curve: list[tuple[int, int]] = []
    for word in [part for text in points for part in text.split(",") if part.strip()]:
        score, separator, price = word.partition(":")
        if not separator:
            raise InvalidInput(
                f"{word!r} is no curve point", next_step="write SCORE:PRICE, for instance 0.9:0.05"
            )
        curve.append((parse_amount(score, 6), parse_amount(price, decimals)))
    return curve
