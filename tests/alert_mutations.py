"""Planted bugs of alerts for ``tests/mutations.py``: name, file, a text that stands there once, what replaces it."""

DOMAIN, ENGINE, LUA = "src/domain/monitoring", "src/application/monitoring", "src/infrastructure/monitoring/lua"

SUITES = (
    "tests/unit/monitoring/test_alert.py",
    "tests/unit/monitoring/test_rule.py",
    "tests/integration/test_alert_silences_acks.py",
    "tests/integration/test_alert_hiding.py",
    "tests/integration/test_alert_rules_store.py",
    "tests/integration/test_monitoring_alerts.py",
    "tests/integration/test_monitoring_silence.py",
    "tests/unit/monitoring/test_alert_invariants.py",
    "tests/integration/test_alert_plays.py",
)

MUTATIONS: tuple[tuple[str, str, str, str], ...] = (
    (
        "a late sample is judged",
        f"{DOMAIN}/alert.py",
        "if last is not None and _time(seen, rule) <= last:",
        "if last is not None and _time(seen, rule) == last:",
    ),
    (
        "a repeated sample is judged",
        f"{DOMAIN}/alert.py",
        "if last is not None and _time(seen, rule) <= last:",
        "if last is not None and _time(seen, rule) < last:",
    ),
    (
        "a gap is taken for a breach",
        f"{DOMAIN}/alert.py",
        "    return at - state.heard_at > timedelta",
        "    return False and at - state.heard_at > timedelta",
    ),
    (
        "a value between the levels goes on with the run",
        f"{DOMAIN}/alert.py",
        '        changes |= {"run": None, "run_since": None}\n',
        "        pass\n",
    ),
    (
        "keep_firing_for is not waited for",
        f"{DOMAIN}/alert.py",
        "held >= timedelta(seconds=rule.keep_firing_for_s)",
        "held is not None",
    ),
    (
        "a relapse is an episode of its own",
        f"{DOMAIN}/alert.py",
        '    if state.phase is AlertPhase.OK:\n        changes |= {"episode"',
        '    if state.phase is not AlertPhase.FIRING and arrow.to is not AlertPhase.OK:\n        changes |= {"episode"',
    ),
    (
        "after a close old samples count",
        f"{DOMAIN}/alert.py",
        '"heard_at": max(state.heard_at or at, at)',
        '"heard_at": state.heard_at',
    ),
    (
        "an acknowledgement outlives its episode",
        f"{DOMAIN}/alert.py",
        '"metric", "severity", "ack")',
        '"metric", "severity")',
    ),
    (
        "a silence swallows a resolve",
        f"{DOMAIN}/telling.py",
        "return _mute(state, until, None), []",
        'return _mute(state.model_copy(update={"told": None}), until, None), []',
    ),
    (
        "a silence mutes no firing",
        f"{DOMAIN}/telling.py",
        "if kind is None or until is not None or",
        "if kind is None or",
    ),
    (
        "what is hidden is told",
        f"{DOMAIN}/telling.py",
        "or until is not None or outlook.hidden_by is not None:",
        "or until is not None:",
    ),
    (
        "a resolve of what is closed in a silence goes out at once",
        f"{DOMAIN}/telling.py",
        "state.told, state, at, rule, closed, until)",
        "state.told, state, at, rule, closed)",
    ),
    (
        "repeats count from the firing",
        f"{DOMAIN}/telling.py",
        'return "repeat" if outlook.now - state.told.last_at >=',
        'return "repeat" if outlook.now - state.told.fired_at >=',
    ),
    (
        "severity falls with the value",
        f"{DOMAIN}/telling.py",
        "rank(reached) <= rank(state.severity)",
        "reached == state.severity",
    ),
    (
        "nobody looks when a silence ends",
        f"{DOMAIN}/telling.py",
        "moments = [state.silenced_until] if state.silenced_until is not None else []",
        "moments = list[datetime]()",
    ),
    (
        "nobody looks when a repeat is due",
        f"{DOMAIN}/telling.py",
        "        moments.append(due if acked_until is None else max(due, acked_until))\n",
        "        pass\n",
    ),
    (
        "an acknowledgement covers what becomes worse",
        f"{DOMAIN}/silence.py",
        " and rank(severity) <= rank(self.severity)",
        "",
    ),
    ("an acknowledgement never expires", f"{DOMAIN}/silence.py", "return now < self.until and", "return"),
    (
        "two messages of an alert have one key",
        f"{DOMAIN}/notification.py",
        'f"/{self.number}" if self.number',
        '"" if 0',
    ),
    (
        "a worker that is down hides nothing",
        f"{ENGINE}/evaluation.py",
        'if rule.kind != "metric":\n            return None',
        "if rule.kind:\n            return None",
    ),
    (
        "a failed check hides values",
        f"{ENGINE}/evaluation.py",
        ' and not (state.subject or "").startswith(CHECK)',
        "",
    ),
    (
        "a rule that watches something else keeps its alerts",
        f"{ENGINE}/evaluation.py",
        "elif state.metric not in (None, rule.metric):",
        "elif state.metric == 5:",
    ),
    (
        "rules and silences are read once",
        f"{ENGINE}/policy.py",
        "if self._known is None or self._known.version != version:",
        "if self._known is None:",
    ),
    (
        "a refused step is taken for done",
        f"{ENGINE}/alerting.py",
        'await self._book.commit(evaluation.step()) != "stale"',
        'await self._book.commit(evaluation.step()) != "x"',
    ),
    (
        "a commit does not compare what was read",
        f"{LUA}/commit_alerts.lua",
        "(redis.call('HGET', book, '.version') or '0') ~= ARGV[3] or ",
        "",
    ),
    (
        "a commit does not compare rules and silences",
        f"{LUA}/commit_alerts.lua",
        " or (redis.call('GET', mon('policy')) or '0') ~= ARGV[7]",
        "",
    ),
    (
        "what is due is not kept",
        f"{LUA}/commit_alerts.lua",
        "  redis.call('ZADD', mon('alerts_due'), work.look_at, worker)\n",
        "  local _ = 1\n",
    ),
    (
        "a region that is back wakes nobody",
        f"{LUA}/commit_alerts.lua",
        "if redis.call('HDEL', mon('regions_down'), worker) == 1 then change_policy() end",
        "redis.call('HDEL', mon('regions_down'), worker)",
    ),
    (
        "a change of rules or silences wakes nobody",
        f"{LUA}/prelude.lua",
        "    redis.call('ZADD', mon('alerts_due'), whole(now), worker)\n",
        "    local _ = 1\n",
    ),
    (
        "a sample takes back no failed look",
        f"{LUA}/append_sample.lua",
        "look_succeeded(id, ARGV[8])\n",
        "",
    ),
    (
        "a failed look that is told late counts",
        f"{LUA}/look_failed.lua",
        "if ok and tonumber(ok) > failed_at then",
        "if false then",
    ),
)
