"""Planted bugs of jobs in queues: name, file, a text that stands there once, and what it is replaced by."""

LUA, JOBS_LUA = "src/infrastructure/runs/lua", "src/infrastructure/jobs/lua"
CLAIM, TICK = "src/infrastructure/scheduling/claim_at_once.py", "src/infrastructure/scheduling/tick.py"
SUITES = (
    "tests/integration/test_job_queues.py",
    "tests/integration/test_job_acceptance.py",
    "tests/integration/test_claim_at_once.py",
)
MUTATIONS = (
    (
        "a pass gives back what a claim on the loop may bring",
        TICK,
        "else (self._fire,))",
        "else (self._reclaim_runs, self._fire))",
    ),
    ("a pass gives slots away beside a claim on the loop", TICK, "return self._owns and not", "return not"),
    ("the loop claims beside a pass", CLAIM, " or not claiming.turn.acquire(blocking=False)", ""),
    ("who has work claims on the loop", CLAIM, "self._runner.held or ", ""),
    ("a claim on the loop that got no answer is forgotten", CLAIM, "            claiming.doubt(asked)\n", ""),
    ("a claim on the loop counts, however late", CLAIM, "timeout(self._patience_s)", "timeout(None)"),
    ("a hint that came in the middle of a claim is forgotten", CLAIM, " or self._claiming.due_in_s() <= 0", ""),
    (
        "stopping does not wait for a claim",
        "src/infrastructure/scheduling/engine.py",
        "await self._at_once.stop()",
        "pass",
    ),
    ("weights of queues do not count", f"{LUA}/claim.lua", "rule and rule.weight or 1", "1"),
    ("a queue is paid back its idle time", f"{LUA}/claim.lua", "or 0), floor)", "or 0), 0)"),
    ("priority does not count", f"{LUA}/lifecycle.lua", "ms - (noted(run, 'ahead_ms') or 0)", "ms"),
    (
        "a limit of running is ignored",
        f"{LUA}/claim.lua",
        "rule.limit and rule.limit - ",
        "rule.limit and rule.limit + ",
    ),
    (
        "runs of others do not count against a limit",
        f"{LUA}/claim.lua",
        "for _, lane in ipairs(all) do\n",
        "for _, lane in ipairs({}) do\n",
    ),
    (
        "tokens of a rate are not used up",
        f"{LUA}/claim.lua",
        "rated[name].full_at + rated[name].every",
        "rated[name].full_at",
    ),
    ("a key lets all go", f"{LUA}/lifecycle.lua", "if redis.call('SCARD', PREFIX .. 'holders:' .. key) >=", "if 0 >="),
    (
        "who ends keeps the place of its key",
        f"{LUA}/lifecycle.lua",
        "  redis.call('SREM', PREFIX .. 'holders:' .. key, run.id)\n",
        "",
    ),
    (
        "what waits for a key is forgotten",
        f"{LUA}/lifecycle.lua",
        "  make_ready(id, following.lane, following.order)\n",
        "",
    ),
    (
        "an idempotency key is not remembered",
        f"{JOBS_LUA}/enqueue.lua",
        "if key then redis.call('SET'",
        "if false then redis.call('SET'",
    ),
    ("another request under a key is the same", f"{JOBS_LUA}/enqueue.lua", "then_digest == digest and", "true and"),
    ("a full queue takes more", f"{JOBS_LUA}/enqueue.lua", "count_waiting(queue) >= most[queue]", "false"),
    (
        "what is overdue does not expire",
        f"{LUA}/lifecycle.lua",
        "run.status == 'queued' and run.attempt == 0 then\n      finish",
        "false then\n      finish",
    ),
    (
        "dead jobs go with the others",
        f"{LUA}/lifecycle.lua",
        "ipairs({ 'done', 'dead', 'export' })",
        "ipairs({ 'done', 'export' })",
    ),
    (
        "a job that is run again keeps its retries",
        f"{JOBS_LUA}/rerun.lua",
        "run.retries, run.started = 0, ''",
        "run.started = ''",
    ),
    ("what succeeded is run again", f"{JOBS_LUA}/rerun.lua", "ALLOWED[run.status .. '>queued'] and noted", "noted"),
    ("what was run again leaves the buffer", f"{JOBS_LUA}/exported.lua", "int(tonumber(ended)) == ARGV[i + 1]", "true"),
    (
        "a job of a pattern has another one's order",
        f"{JOBS_LUA}/enqueue.lua",
        "pattern.run.order, id)",
        "NOW_TEXT, id)",
    ),
    (
        "what waits for a history that is off is kept",
        f"{LUA}/lifecycle.lua",
        "  local lost = surplus('export', EXPORTED_AT_MOST)",
        "  local lost = EXPORTED_AT_MOST > 0 and surplus('export', EXPORTED_AT_MOST) or {}",
    ),
)

HISTORY = "src/infrastructure/jobs/history"
HISTORY_SUITES = ("tests/integration/test_history_database.py", "tests/integration/test_history_keeper.py")
OF_HISTORY = (
    (
        "what waits for the history is forgotten",
        f"{LUA}/lifecycle.lua",
        "ipairs({ 'done', 'dead', 'export' })",
        "ipairs({ 'done', 'dead' })",
    ),
    (
        "what is dropped from the buffer is not counted",
        f"{LUA}/lifecycle.lua",
        "if #lost > 0 then redis",
        "if false then redis",
    ),
    (
        "what is run again stays in the buffer",
        f"{JOBS_LUA}/rerun.lua",
        "'done', 'dead', 'export' }) do redis",
        "'done', 'dead' }) do redis",
    ),
    (
        "an older ending replaces a newer one",
        f"{HISTORY}/writing.py",
        '["ended_ms"] < row["ended_ms"]\n            ]',
        '["ended_ms"] != row["ended_ms"]\n            ]',
    ),
    (
        "what is replaced stays counted",
        f"{HISTORY}/writing.py",
        "((new, 1), (replaced, -1))",
        "((new, 1), (replaced, 0))",
    ),
    ("a sum is written anew and not added to", f"{HISTORY}/writing.py", ".merge(tally_of(row))", ""),
    (
        "jobs leave the store before the history has them",
        f"{HISTORY}/keeper.py",
        "refused = await writer.write(rows)",
        "refused = await writer.write(rows[:0])",
    ),
    (
        "a page of the history begins with the last one's end",
        f"{HISTORY}/searching.py",
        "sa.tuple_(jobs.c.ended_ms, jobs.c.id) < ",
        "sa.tuple_(jobs.c.ended_ms, jobs.c.id) <= ",
    ),
    (
        "one row that cannot be stored keeps out others",
        f"{HISTORY}/writing.py",
        "            if not is_row_fault(error):\n",
        "            if True:\n",
    ),
    (
        "two instances export at a time",
        f"{HISTORY}/exports.py",
        "!= self._instance:\n                return False",
        "!= self._instance:\n                return True",
    ),
)
