"""Outbox to chain: the only sender, one key, one transaction on its way at a time.

A transaction's nonce, raw bytes and hash are stored before it is sent. After any crash, on either side, the
chain's own count of the sender's transactions says what is missing, and exactly those bytes are sent again in
nonce order. A call that the contracts would refuse is found by simulation and costs no transaction.
"""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from contracts.bindings import Chain
from contracts.errors import Reverted, RpcFailed
from contracts.records import Call, TransactionReceipt
from contracts.transactions import Transaction, address_of_key, sign
from market.audit import services as audit
from market.errors import KeyMissing, WrongState
from market.grants import services as grants
from market.grants.models import Grant
from market.jobs import progress
from market.ledger.models import ChainTransaction
from market.ledger.outbox import requeue
from market.ledger.refusals import refusal_of
from market.parties.actor import Actor
from market.parties.models import Party

log = logging.getLogger(__name__)
_RELAY = Actor.system("relay")
_State = ChainTransaction.State
_Purpose = ChainTransaction.Purpose
# A transaction that the endpoint dropped is handed in again after this long.
_RESEND_AFTER_S = 5.0
# A transaction below the chain's nonce without a receipt: the endpoint may lag before we believe it is gone.
_GONE_AFTER_S = 20.0
_RELEASE_GAS = 300_000
# Refusals that say: what was wanted is already so.
_ALREADY = {
    "PartyExists",
    "VersionOutOfOrder",
    "GrantExists",
    "ReservationNotOpen",
    "SuspensionUnchanged",
    "FreezeUnchanged",
}


def relayer_key() -> bytes:
    """The private key in RELAYER_KEY_FILE (64 hexadecimal digits); raises KeyMissing."""
    if not settings.RELAYER_KEY_FILE:
        raise KeyMissing("RELAYER_KEY_FILE is not set")
    try:
        key = bytes.fromhex(Path(settings.RELAYER_KEY_FILE).read_text().strip().removeprefix("0x"))
    except (OSError, ValueError):
        key = b""
    if len(key) != 32:
        raise KeyMissing("RELAYER_KEY_FILE does not hold 64 hexadecimal digits")
    return key


class Relay:
    """Sends what is queued. It has no repr: it holds a key."""

    def __init__(self, chain: Chain, private_key: bytes) -> None:
        self._chain = chain
        self._key = private_key
        self.account = address_of_key(private_key)
        self._first_missed: dict[int, float] = {}

    def step(self) -> bool:
        """Do the next thing; True if something moved. Raises ChainUnreachable; nothing is lost by that."""
        count = self._chain.nonce(self.account)
        moved = self._resend_lost(count)
        moved |= self._settle_sent(count)
        if ChainTransaction.objects.filter(state=_State.SENT).exists():
            return moved  # what follows may depend on it
        row = ChainTransaction.objects.filter(state=_State.QUEUED).order_by("id").first()
        if row is None:
            return moved
        self._send(row, count)
        return True

    def drain(self, timeout_s: float = 30.0) -> None:
        """Step until nothing is queued or on its way (tests, set-up commands); raises WrongState in time."""
        end = time.monotonic() + timeout_s
        while self.step() or ChainTransaction.objects.filter(state=_State.SENT).exists():
            if time.monotonic() > end:
                raise WrongState(f"the outbox did not empty within {timeout_s:.0f} s")
            time.sleep(0.005)

    # ---- after a crash --------------------------------------------------------------------------------

    def _resend_lost(self, count: int) -> bool:
        """Hand in again, in nonce order, what the chain does not count (any more)."""
        lost = list(ChainTransaction.objects.filter(nonce__gte=count).order_by("nonce"))
        moved = False
        if lost and lost[0].nonce is not None and lost[0].nonce > count:
            # A transaction before these is gone and forgotten (it had reverted and was queued again), so
            # their nonces will never be reached: they are on no chain and get new ones.
            log.warning("nonce %d is missing: queueing %d calls again", count, len(lost))
            for row in lost:
                requeue(row)
            return True
        for row in lost:
            if row.state == _State.SENT:
                if row.sent_at and timezone.now() - row.sent_at < timedelta(seconds=_RESEND_AFTER_S):
                    continue
            else:
                log.warning("the chain lost %s %s (nonce %s)", row.purpose, row.subject, row.nonce)
            ChainTransaction.objects.filter(pk=row.pk).update(
                state=_State.SENT, sent_at=timezone.now(), block_number=None, block_hash="", mined_at=None
            )
            self._hand_in(row)
            moved = True
        return moved

    def _settle_sent(self, count: int) -> bool:
        """Write down what became of transactions that the chain has counted."""
        moved = False
        for row in ChainTransaction.objects.filter(state=_State.SENT).order_by("nonce"):
            receipt = self._chain.transaction_receipt(bytes.fromhex(row.tx_hash[2:]))
            if receipt is not None:
                self._first_missed.pop(row.pk, None)
                self._mined(row, receipt)
                moved = True
            elif row.nonce is not None and row.nonce < count:
                # Counted, but not ours: somebody else used the key. Only then is a new nonce safe.
                since = self._first_missed.setdefault(row.pk, time.monotonic())
                if time.monotonic() - since > _GONE_AFTER_S:
                    log.error("nonce %s was used by another sender: queueing %s again", row.nonce, row)
                    self._first_missed.pop(row.pk)
                    requeue(row)
                    moved = True
        return moved

    def _mined(self, row: ChainTransaction, receipt: TransactionReceipt) -> None:
        fields: dict[str, Any] = {
            "block_number": receipt.block_number,
            "block_hash": "0x" + receipt.block_hash.hex(),
            "gas_used": receipt.gas_used,
            "mined_at": timezone.now(),
        }
        if receipt.succeeded:
            ChainTransaction.objects.filter(pk=row.pk, state=_State.SENT).update(
                state=_State.MINED, error=None, **fields
            )
            return
        why = self._chain.why_reverted(_call(row), self.account, receipt.block_number)
        error = why or Reverted("Unknown", {})
        ChainTransaction.objects.filter(pk=row.pk).update(**fields)
        self._refused(row, error)

    # ---- the next one ---------------------------------------------------------------------------------

    def _send(self, row: ChainTransaction, count: int) -> None:
        call = _call(row)
        try:
            gas = self._gas(row, call)
        except Reverted as error:
            self._refused(row, error)
            return
        highest = ChainTransaction.objects.exclude(nonce=None).order_by("-nonce").first()
        nonce = max(count, highest.nonce + 1 if highest and highest.nonce is not None else 0)
        signed = sign(
            Transaction(
                chain_id=self._chain.chain_id,
                nonce=nonce,
                gas=gas,
                # The base fee may rise before a block takes it.
                gas_price=2 * self._chain.gas_price(),
                to=call.to,
                data=call.data,
            ),
            self._key,
        )
        try:
            with transaction.atomic():
                claimed = ChainTransaction.objects.filter(pk=row.pk, state=_State.QUEUED).update(
                    state=_State.SENT,
                    nonce=nonce,
                    raw="0x" + signed.raw.hex(),
                    tx_hash="0x" + signed.hash.hex(),
                    sent_at=timezone.now(),
                )
        except IntegrityError:
            return  # another relay took this nonce
        if not claimed:
            return  # another relay took this row
        row.refresh_from_db()
        self._hand_in(row)
        receipt = self._chain.transaction_receipt(signed.hash)
        if receipt is not None:  # a chain that mines at once
            self._mined(row, receipt)

    def _gas(self, row: ChainTransaction, call: Call) -> int:
        if row.purpose == _Purpose.RELEASE:
            # Whether a release is due depends on the next block's clock, which a simulation on the last
            # block does not know; the drive worker has checked the time.
            return _RELEASE_GAS
        self._chain.simulate(call, self.account)
        gas = self._chain.estimate_gas(call, self.account)
        return gas + gas // 4

    def _hand_in(self, row: ChainTransaction) -> None:
        try:
            self._chain.send_raw(bytes.fromhex(row.raw[2:]))
        except (RpcFailed, Reverted) as error:
            # "already known", "nonce too low": it arrived before. Anything else shows at the next look.
            log.info("handing in %s (nonce %s): %s", row.purpose, row.nonce, error)

    # ---- refusals -------------------------------------------------------------------------------------

    @transaction.atomic
    def _refused(self, row: ChainTransaction, error: Reverted) -> None:
        """Write a contract's refusal onto the transaction and onto what it was for."""
        refusal = refusal_of(error)
        ChainTransaction.objects.filter(pk=row.pk).update(state=_State.REVERTED, error=refusal)
        audit.append(
            f"chain.{row.purpose}.refused", actor=_RELAY, subject=row.subject, rule=error.name, key=row.key
        )
        if error.name in _ALREADY:
            return
        log.warning("the chain refused %s %s: %s", row.purpose, row.subject, error)
        match row.purpose:
            case _Purpose.RESERVE:
                progress.derive(row.subject)
            case _Purpose.ACTIVATE:
                grant = Grant.objects.filter(grant_id=row.subject).first()
                if grant is not None:
                    grants.record_refusal(grant_pk=grant.pk, refusal=refusal, actor=_RELAY)
            case _Purpose.ENROL:
                Party.objects.filter(pk=row.subject, enrolled_block=None).update(refusal=refusal)


def _call(row: ChainTransaction) -> Call:
    return Call(to=row.to, data=bytes.fromhex(row.data[2:]))
