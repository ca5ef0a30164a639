"""The door of the recordings: damaged files through the reader, and bent inputs whose hash chain is right through replay."""

from __future__ import annotations

import functools
import hashlib
import tempfile
from pathlib import Path
from random import Random

import orjson
import zstandard

from streamhedge.errors import JournalCorrupt, ParseError, StoreError
from streamhedge.live.recordings import replay_files
from streamhedge.store.journal import read_lines
from tests.fuzz.cases import CHANGED, QUARANTINED, REFUSED, VALID, Finding, Verdict, parses, watched
from tests.fuzz.mutator import Mutator
from tests.support.run import Run

OURS = ("conn", "tick", "trade", "verb", "store", "void", "clock", "manual", "setup", "rest")
"""Sources whose inputs we write ourselves."""
SAMPLES = {
    "conn": {"stream": "market", "connection": 1, "state": "closed", "reason": "x", "jitter_permille": 5},
    "tick": {"lag_ms": 0},
    "trade": {
        **{"trade_id": "ft-9", "asset": "BTC", "kind": "buy", "quantity": "0.1", "usd": "-6712", "price": "67121.4"},
        **{"time_ms": 1, "reason": "x", "voids": None},
    },
    "verb": {"kind": "halt", "symbol": None, "reason": "x", "uid": 0},
    "manual": {"symbol": "BTCUSDT", "side": "BUY", "quantity": "1", "reduce_only": False, "reason": "x", "uid": 0},
    "store": {"what": "the ledger", "message": "x"},
    "void": {"client_order_id": "sh-7f3a91c2-1-000001", "reason": "x"},
    "clock": {"gap_ms": 5_000},
}


@functools.cache
def _written() -> tuple[bytes, str]:
    """Return a sound recording of some twenty inputs, and the digest it leads to."""
    with tempfile.TemporaryDirectory(prefix="shfuzz-") as folder:
        run = Run(Path(folder))
        run.begin()
        (path,) = run.close()
        return path.read_bytes(), run.pump.digest()


class Door:
    """Damages a recording, each time another way."""

    def __init__(self, rng: Random, folder: Path) -> None:
        self.rng = rng
        self._mutator = Mutator(rng)
        self._whole, self._digest = _written()
        self._path = folder / "bent.rec"
        self._packed = folder / "bent.rec.zst"

    def case(self) -> Verdict:
        """Damage the file, or bend a line and write the chain anew; then replay what is there."""
        rng = self.rng
        chained = rng.random() < 0.7
        frame = self._rechained() if chained else self._damaged()
        packed = rng.random() < 0.15
        path = self._packed if packed else self._path
        raw = zstandard.ZstdCompressor().compress(frame) if packed else frame
        if packed and rng.random() < 0.5:
            raw = self._mutator.broken(raw)
        path.write_bytes(raw)
        try:
            with watched(frame):
                return self._judge(path, frame, chained=chained or frame == self._whole)
        finally:
            path.unlink()

    def _judge(self, path: Path, frame: bytes, *, chained: bool) -> Verdict:
        cuts: list[str] = []
        try:
            found = replay_files([path], on_cut=cuts.append)
        except (JournalCorrupt, ParseError) as error:
            if len(str(error)) > 10_000:
                raise Finding(f"a message of {len(str(error))} characters", frame) from error
            return Verdict(chained, REFUSED)
        except StoreError:
            return Verdict(False, REFUSED)
        if not chained and not cuts and found.digest != self._digest:
            raise Finding("a byte was changed, the chain says nothing, and the replay leads elsewhere", frame)
        if found.diverged is not None:
            return Verdict(True, QUARANTINED)
        return Verdict(True, CHANGED if found.digest != self._digest or cuts else VALID)

    # ------------------------------------------------------------ faults

    def _damaged(self) -> bytes:
        """Return the file with bytes lost, flipped or put in."""
        rng, whole = self.rng, self._whole
        kind = rng.randrange(6)
        if kind <= 1:
            return whole[: rng.randrange(len(whole))]
        if kind == 2:
            lines = whole.splitlines(keepends=True)
            lines.insert(rng.randrange(len(lines)), rng.choice(lines))
            return b"".join(lines)
        if kind == 3:
            lines = whole.splitlines(keepends=True)
            del lines[rng.randrange(len(lines))]
            return b"".join(lines)
        return self._mutator.broken(whole)

    def _rechained(self) -> bytes:
        """Return the file with one line bent and a chain that fits: what no hash can refuse."""
        rng = self.rng
        lines = self._whole.splitlines()
        at = 0 if rng.random() < 0.25 else rng.randrange(1, len(lines) - 1)
        recv, _, rest = lines[at].partition(b" ")
        source, _, payload = rest.partition(b" ")
        if at and rng.random() < 0.7:
            name = rng.choice(OURS)
            source = name.encode()
            payload = orjson.dumps(SAMPLES.get(name, {"request": {"label": "order"}, "status": 200}))
        bent = self._mutator.bent(orjson.loads(payload)) if parses(payload) else self._mutator.broken(payload)
        if rng.random() < 0.1:
            source = rng.choice((b"header", b"sum", b"nobody", b"MARKET", b"", b"m\xc3\xa9"))
        if rng.random() < 0.1:
            recv = rng.choice((b"0", b"-1", b"9" * 19, b"9" * 30, b"x", b"\xd9\xa1", b"1e9", b"9" * 5_000))
        lines[at] = recv + b" " + source + b" " + bent.replace(b"\n", b" ").replace(b"\r", b" ")
        if rng.random() < 0.3:
            return b"\n".join(lines[:-1]) + b"\n"  # the sum is gone: the lines after the header are a tail
        return b"\n".join(_summed(lines[:-1])) + b"\n"

    def close(self) -> None:
        """Hold the recording itself against the reader once more."""
        self._path.write_bytes(self._whole)
        assert sum(1 for _ in read_lines(self._path)) == self._whole.count(b"\n")
        self._path.unlink()


def _summed(lines: list[bytes]) -> list[bytes]:
    """Return lines with a last one that holds their chain, and no digest to compare with."""
    chain = hashlib.sha256()
    for line in lines:
        chain.update(line + b"\n")
    said = orjson.dumps({"lines": len(lines), "chain": chain.hexdigest(), "digest": None})
    return [*lines, b"1795161700000000000 sum " + said]
