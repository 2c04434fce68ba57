"""Programs that take turns: each is started once, keeps its weights, and runs its case on request."""

import json
import queue
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parent.parent


class TooSlow(Exception):
    """A run took longer than the measurement waits for."""


class Failed(Exception):
    """A program ended, or said something else than figures."""


class Player:
    """One program and its figures."""

    def __init__(self, name, command):
        self.name, self.command = name, command
        self.runs, self.about, self.spent_s = [], {}, 0.0
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        # Pipes are read by threads of their own: a program that says much blocks nobody, and a
        # silent one can be given up.
        self.lines = queue.Queue()
        self.complaints = []
        for pipe, take in ((self.process.stdout, self.lines.put), (self.process.stderr, self.complaints.append)):
            threading.Thread(target=self._read, args=(pipe, take), daemon=True).start()

    def _read(self, pipe, take):
        for line in pipe:
            take(line)
        take(None)

    def wait_until_ready(self, limit_s):
        self.about = self._answer(limit_s)

    def run(self, limit_s):
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        figures = self._answer(limit_s)
        self.spent_s += figures["processor_ms"] / 1e3
        self.runs.append(figures)

    def _answer(self, limit_s):
        try:
            line = self.lines.get(timeout=limit_s)
        except queue.Empty:
            raise TooSlow(f"{self.name}: more than {limit_s:.0f} s") from None
        if line is None:
            self.process.wait()
            last = [line.strip() for line in self.complaints if line and line.strip()][-1:]
            raise Failed(f"{self.name} ended with {self.process.returncode}: {' '.join(last)}")
        return json.loads(line)

    def stop(self):
        self.process.kill()
        self.process.wait()

    def figures(self, clock):
        """The middle and the least of the runs in milliseconds; nothing without runs."""
        if not self.runs:
            return None
        times = [run["ms" if clock == "wall" else "processor_ms"] for run in self.runs]
        return {
            "ms_median": median(times),
            "ms_min": min(times),
            "processor_ms_median": median(run["processor_ms"] for run in self.runs),
            "runs": len(times),
        }


@dataclass(frozen=True)
class Patience:
    rounds: int
    seconds: float  # of processor time for each; whoever had them, stops taking part
    limit_s: float  # for one answer
    load_s: float = 1800  # until one is ready: reads libraries, makes weights, warms up


@dataclass
class Outcome:
    players: list
    problems: list = field(default_factory=list)


def take_turns(starts, patience, say):
    """Starts everyone, then lets them run one after the other, round by round.

    `starts` are functions that start a player each. Who fails or is too slow drops out, with what
    was measured until then."""
    outcome = Outcome([])
    playing = []
    try:
        for start in starts:
            player = start()
            outcome.players.append(player)
            if attempt(lambda: player.wait_until_ready(patience.load_s), outcome, say):
                playing.append(player)
        for number in range(patience.rounds if playing else 0):
            for player in list(playing):
                going = attempt(lambda: player.run(patience.limit_s), outcome, say)
                if not going or player.spent_s > patience.seconds:
                    playing.remove(player)
            say(f"  round {number + 1} of {patience.rounds}")
    finally:
        for player in outcome.players:
            player.stop()
    return outcome


def attempt(action, outcome, say):
    try:
        action()
        return True
    except (TooSlow, Failed, OSError, ValueError) as problem:
        outcome.problems.append(str(problem))
        say(f"  {problem}")
        return False
