"""How much of the engine's time each job used: the time that passes is shared by the jobs in the same lane.

By their rows and pixels, so that all that is charged adds up to the time the lanes were busy.
"""

from __future__ import annotations

from bot.jobs import JobId, Work


class Meter:
    """Knows which jobs are in the engine and what it cost them so far, in seconds."""

    def __init__(self) -> None:
        self._shares: dict[str, dict[JobId, int]] = {}
        self._used: dict[JobId, float] = {}
        self._read_at = 0.0

    def enter(self, job_id: JobId, work: Work, now: float, lane: str = "") -> None:
        """A lane began with a job; that the job is in already changes nothing."""
        self._read(now)
        _, width, height = work.shape
        self._shares.setdefault(lane, {}).setdefault(job_id, work.rows * width * height)
        self._used.setdefault(job_id, 0.0)

    def used(self, job_id: JobId, now: float) -> float:
        """What a job used until now; 0 for one that never entered."""
        self._read(now)
        return self._used.get(job_id, 0.0)

    def leave(self, job_id: JobId, now: float) -> None:
        """A job has ended, or its attempt has."""
        self._read(now)
        for shares in self._shares.values():
            shares.pop(job_id, None)
        self._used.pop(job_id, None)

    def _read(self, now: float) -> None:
        # Should a clock run back, no time is shared out twice.
        passed = max(now - self._read_at, 0.0)
        self._read_at = max(now, self._read_at)
        for shares in self._shares.values():
            whole = sum(shares.values())
            for job_id, share in shares.items():
                self._used[job_id] += passed * share / whole
