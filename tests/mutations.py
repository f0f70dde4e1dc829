"""Break the program on purpose and see which test notices: ``make mutations``, or with names of some.

Each mutation replaces one text in a copy of the project; the suites run there until the first failure. One that
survives is a hole in the tests, or says that the text is not needed. docs/proof.md keeps the results.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import alert_api_mutations
import alert_mutations
import delivery_mutations
import job_mutations

ROOT = Path(__file__).parent.parent
LUA, SCHEDULING = "src/infrastructure/runs/lua", "src/infrastructure/scheduling/lua"
TICK = "src/infrastructure/scheduling/tick.py"
SUITES = (
    "tests/integration/test_plain_runs.py",
    "tests/integration/test_protocol.py",
    "tests/integration/test_own_takeover.py",
    "tests/integration/test_commit_owns.py",
    "tests/integration/test_overlapping_calls.py",
    "tests/integration/test_tick_backlog.py",
    "tests/integration/test_overlap_places.py",
    "tests/integration/test_policies.py",
    "tests/integration/test_model_store.py",
    "tests/unit/runs",
    "tests/unit/scheduling",
    "tests/integration/test_cluster_changes.py",
    "tests/integration/test_engine.py",
    "tests/integration/test_instances.py",
    "tests/distributed/test_scenario_kill.py",
)
LONGEST_S = 600


@dataclass(frozen=True)
class Mutation:
    """A text that stands once in a file, and what it is replaced by."""

    name: str
    file: str
    old: str
    new: str
    suites: tuple[str, ...] = SUITES


PROTOCOL = (
    Mutation("a settle does not compare the token", f"{LUA}/settle.lua", " and run.token == token then", " then"),
    Mutation(
        "a settle batch sent again is done again", f"{LUA}/settle.lua", "if number == ARGV[2] then", "if false then"
    ),
    Mutation("a stopped run may retry", f"{LUA}/settle.lua", "if noted(run, 'stopped') then", "if false then"),
    Mutation("a retry does not give way to a fire", f"{LUA}/settle.lua", "if superseded(run) then", "if false then"),
    Mutation(
        "a changed schedule may be terminated", f"{LUA}/settle.lua", "~= definition then return end", "~= 1 then end"
    ),
    Mutation(
        "what is given back keeps its attempt",
        f"{LUA}/settle.lua",
        "run.attempt = run.attempt - 1",
        "run.attempt = run.attempt",
    ),
    Mutation(
        "a commit does not compare the state",
        f"{SCHEDULING}/commit.lua",
        "if states[job] ~= taken then",
        "if false then",
    ),
    Mutation(
        "a plain fire takes more than the free slots", f"{SCHEDULING}/commit.lua", "if free <= 0 or first", "if first"
    ),
    Mutation(
        "a plain fire overtakes what is ready",
        f"{SCHEDULING}/commit.lua",
        " or would_overtake(lane) then",
        " then",
    ),
    Mutation(
        "a plain fire does not see what is out",
        f"{SCHEDULING}/commit.lua",
        "first_open[job] or not no_others[job] or runs_read",
        "runs_read",
    ),
    Mutation(
        "a plain late fire counts nothing as missed",
        f"{SCHEDULING}/commit.lua",
        "    count_missed(id, job, tonumber(missed))\n",
        "",
    ),
    Mutation(
        "a plain late fire tells of none missed", f"{SCHEDULING}/commit.lua", "',\"missed\":' .. missed ..", "'' .."
    ),
    Mutation(
        "a plain late fire counts for a newer schedule",
        f"{LUA}/runs.lua",
        " or string.sub(text, 1, #known) ~= known then",
        " then",
    ),
    Mutation("what was missed before is forgotten", f"{LUA}/runs.lua", "int(so_far + missed)", "int(missed)"),
    Mutation(
        "a pass that fell behind fires at once",
        f"{TICK}",
        "while self._behind and self._claiming",
        "while False and self._claiming",
    ),
    Mutation("jobs hold up fires", f"{TICK}", "while self._behind and ", "while "),
    Mutation("a pass that fell behind claims for ever", f"{TICK}", " and time.monotonic() < until:", ":"),
    Mutation(
        "calls behind a refused one are forgotten",
        "src/infrastructure/redis/overlapping.py",
        "while len(self._read) < len(self._under_way):",
        "while False:",
    ),
    Mutation(
        "commits under way together share their slots",
        f"{TICK}",
        "return self._runner.free_slots - sum(len(batch.runs) for batch in under_way)",
        "return self._runner.free_slots",
    ),
    Mutation(
        "a plain success needs no token",
        f"{LUA}/settle.lua",
        "  if string.sub(text, 1, #ours) ~= ours then return false end\n",
        "  ours = string.match(text, '^running\\n1\\n0\\n%d+\\n[^\\n]*\\n') or ours\n",
    ),
    Mutation("a plain success keeps its place", f"{LUA}/settle.lua", "  write_all('HDEL', OPEN, plain_jobs)\n", ""),
    Mutation(
        "a plain success lets nobody go who waits",
        f"{LUA}/settle.lua",
        " or not no_others[job] or not ALLOWED",
        " or not ALLOWED",
    ),
    Mutation(
        "a plain success counts an older fire",
        f"{LUA}/runs.lua",
        " or tonumber(due) <= tonumber(last_fire) then",
        " then",
    ),
    Mutation(
        "a plain success of an older schedule counts",
        f"{LUA}/runs.lua",
        "  if string.sub(text, known - #incarnation + 1, known) ~= incarnation then return nil end\n",
        "",
    ),
    Mutation(
        "fires overlap", f"{SCHEDULING}/commit.lua", "  elseif found.fires >= rule.limit then", "  elseif false then"
    ),
    Mutation("queue_one lets many wait", f"{SCHEDULING}/commit.lua", "and found.waiting == 0 and", "and"),
    Mutation(
        "a fire overtakes what is ready",
        f"{SCHEDULING}/commit.lua",
        "free > 0 and not would_overtake(lane)",
        "free > 0",
    ),
    Mutation("a commit owns more than the free slots", f"{SCHEDULING}/commit.lua", "if free > 0 and not", "if not"),
    Mutation(
        "a commit that owns makes no lease",
        f"{SCHEDULING}/commit.lua",
        "  gather('ZADD', PREFIX .. 'leases:' .. run.lane, lease, run.id)\n",
        "",
    ),
    Mutation("a skipped fire is not counted", f"{SCHEDULING}/commit.lua", "{ skipped = 1 + missed }", "{}"),
    Mutation(
        "dropped fires are not announced",
        f"{SCHEDULING}/commit.lua",
        "    emit('schedule.fire_skipped', event)\n",
        "",
    ),
    Mutation(
        "a fire planned twice overwrites its run",
        f"{SCHEDULING}/commit.lua",
        "if runs_read[run.id] or dropped[run.id] then return end",
        "",
    ),
    Mutation("a take hides nothing", f"{SCHEDULING}/take.lua", "int(NOW + hide)", "int(NOW)"),
    Mutation(
        "a claim does not count the attempt", f"{LUA}/lifecycle.lua", "run.attempt + 1, owner", "run.attempt, owner"
    ),
    Mutation(
        "a token does not grow past the last",
        f"{LUA}/lifecycle.lua",
        "math.max((tonumber(run.token) or 0) + 1, NOW_US)",
        "NOW_US",
    ),
    Mutation("nobody is spared after an outage", f"{LUA}/claim.lua", "if NOW >= quiet_until then", "if true then"),
    Mutation(
        "poison runs are taken over for ever", f"{LUA}/claim.lua", "if takeovers > takeover_limit then", "if false then"
    ),
    Mutation(
        "a claimed run stays ready", f"{LUA}/claim.lua", "  gather('ZREM', PREFIX .. 'ready:' .. lane.name, id)\n", ""
    ),
    Mutation("nothing is taken over", f"{LUA}/claim.lua", "      take_over(id, lane.name)\n", ""),
    Mutation("a take-over is not announced", f"{LUA}/claim.lua", "  announce('job.lost'", "  local _ = ('job.lost'"),
    Mutation(
        "leases of a clock put back hold",
        f"{LUA}/claim.lua",
        "'(' .. int(NOW + LONGEST_LEASE_MS)",
        "'(' .. int(NOW * 9)",
    ),
    Mutation("a renewal does not compare the token", f"{LUA}/renew.lua", " and run.token == token then", " then"),
    Mutation("a renewal prolongs nothing", f"{LUA}/renew.lua", "int(NOW + lease), id", "int(NOW), id"),
    Mutation(
        "a lapsed lease that nobody took is lost",
        f"{LUA}/renew.lua",
        "run.status == 'running' and",
        "run.status == 'running' and tonumber(redis.call('ZSCORE', PREFIX .. 'leases:' .. lane, id) or 0) > NOW and",
    ),
    Mutation(
        "the next in the backlog is forgotten",
        f"{LUA}/lifecycle.lua",
        "  return release_next(run.job)\n",
        "  return 0\n",
    ),
    Mutation(
        "a settled run keeps its lease",
        f"{LUA}/lifecycle.lua",
        "    ready = stop_executing(run)\n",
        "",
    ),
    Mutation(
        "a settled run stays active",
        f"{LUA}/lifecycle.lua",
        "  remove_open(run.job, run.id)\n  announce",
        "  announce",
    ),
    Mutation(
        "of several open runs one is seen",
        f"{LUA}/runs.lua",
        "local ids = no_others[job] and {} or redis.call('SMEMBERS', PREFIX .. 'active:' .. job)",
        "local ids = {}",
    ),
    Mutation(
        "a second open run takes the place of the first",
        f"{LUA}/runs.lua",
        "  if not first then\n",
        "  if true then\n",
    ),
    Mutation("what a call changes in a run is not written", f"{LUA}/runs.lua", "changed[run.id] = run end", "end"),
    Mutation("a fire is not counted when it is over", f"{LUA}/lifecycle.lua", "changes.fired, facts", "local _, facts"),
    Mutation(
        "fires that are not over are not counted",
        "src/infrastructure/scheduling/store.py",
        'stats.get("fired", 0) + len(dues)',
        'stats.get("fired", 0)',
    ),
    Mutation(
        "a run counts into a newer schedule",
        f"{LUA}/runs.lua",
        "incarnation < stats.incarnation) then return false end",
        "false) then return false end",
    ),
    Mutation(
        "any status may follow any",
        "src/infrastructure/runs/scripts.py",
        "local ALLOWED = {{{allowed}}}",
        "local ALLOWED = setmetatable({{}}, {{ __index = function() return true end }})",
    ),
    Mutation(
        "a change does not compare the state", f"{SCHEDULING}/change.lua", "if not is_expected() then", "if false then"
    ),
    Mutation(
        "stop leaves the waiting runs",
        f"{SCHEDULING}/schedules.lua",
        "      finish(run, 'cancelled', 'job.cancelled', ',\"why\":' .. quote(why), {})\n",
        "      local _ = 1\n",
    ),
    Mutation(
        "a lost run goes on",
        "src/application/runs/runner.py",
        "            self._end(execution, Lost(why))\n",
        "            pass\n",
    ),
    Mutation(
        "what was withdrawn begins nevertheless",
        "src/application/runs/runner.py",
        "                del self.held[claim.spec.run_id]\n        return waiting",
        "                pass\n        return waiting",
    ),
    Mutation(
        "draining gives nothing back",
        "src/application/runs/runner.py",
        "                self._finish(claim, Released(started=False))\n",
        "                pass\n",
    ),
    Mutation(
        "claims go on while draining",
        "src/infrastructure/scheduling/engine.py",
        "return not self._draining and not",
        "return not",
    ),
    Mutation(
        "claims go on while the loop is blocked",
        "src/infrastructure/scheduling/engine.py",
        "not self._draining and not self._renewal.loop_blocked",
        "not self._draining",
    ),
    Mutation("jitter drifts", "src/application/scheduling/planning.py", 'f"{schedule_id}@{due}"', 'f"{schedule_id}"'),
    Mutation(
        "missed fires are not counted",
        "src/application/scheduling/planning.py",
        "PlannedRun(late.latest[-1], late.count - 1, RunReason.FIRE)",
        "PlannedRun(late.latest[-1], 0, RunReason.FIRE)",
    ),
)

MUTATIONS = (
    *PROTOCOL,
    *(Mutation(*one, alert_mutations.SUITES) for one in alert_mutations.MUTATIONS),
    *(Mutation(*one, alert_api_mutations.SUITES) for one in alert_api_mutations.MUTATIONS),
    *(Mutation(*one, job_mutations.SUITES) for one in job_mutations.MUTATIONS),
    *(Mutation(*one, job_mutations.HISTORY_SUITES) for one in job_mutations.OF_HISTORY),
    *(Mutation(*one, delivery_mutations.SUITES) for one in delivery_mutations.MUTATIONS),
)


def apply(mutation: Mutation, root: Path) -> None:
    """Put a mutation into a copy; raise ``ValueError`` unless its text stands there exactly once."""
    path = root / mutation.file
    text = path.read_text()
    if (times := text.count(mutation.old)) != 1:
        raise ValueError(f"{mutation.name}: its text stands {times} times in {mutation.file}")
    path.write_text(text.replace(mutation.old, mutation.new))


def caught_by(mutation: Mutation) -> str:
    """Return the test that notices a mutation, or '' when none does."""
    with tempfile.TemporaryDirectory(prefix="mutation") as directory:
        copy = Path(directory) / "copy"
        for part in ("src", "tests", "scripts", "examples", "docs", "pyproject.toml", "settings.toml"):
            source = ROOT / part
            if source.is_dir():
                shutil.copytree(source, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copy / part)
        apply(mutation, copy)
        environ = {**os.environ, "PYTHONPATH": str(copy / "src")}
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-x",
            "-q",
            "-p",
            "no:randomly",
            "-p",
            "no:cacheprovider",
            *mutation.suites,
        ]
        try:
            ended = subprocess.run(
                command, cwd=copy, env=environ, capture_output=True, text=True, timeout=LONGEST_S, check=False
            )
        except subprocess.TimeoutExpired:
            return f"no end within {LONGEST_S} s"
        found = re.search(r"^(?:FAILED|ERROR) \S*/(\S+?\.py\S*)", ended.stdout, re.MULTILINE)
        if not found and ended.returncode not in (0, 1):
            raise RuntimeError(f"pytest could not run:\n{ended.stdout[-2000:]}\n{ended.stderr[-2000:]}")
        return found[1] if found else "" if ended.returncode == 0 else ended.stdout[-500:]


def main() -> int:
    """Try the mutations that are named, or all; return 1 if one survives."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("names", nargs="*", help="parts of names; all mutations when left out")
    wanted = parser.parse_args().names
    survived = 0
    for mutation in MUTATIONS:
        if wanted and not any(name in mutation.name for name in wanted):
            continue
        began = time.monotonic()
        test = caught_by(mutation)
        survived += not test
        print(f"| {mutation.name} | {test or '**survived**'} | {time.monotonic() - began:.0f} s |", flush=True)  # noqa: T201
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
