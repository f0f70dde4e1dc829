"""Planted bugs of what people do with alerts, for ``tests/mutations.py``: name, file, a text, what replaces it."""

ENGINE, WEB, CLI = "src/application/monitoring", "src/infrastructure/web", "src/infrastructure/cli"

SUITES = (
    "tests/integration/test_api_alert_rules.py",
    "tests/integration/test_api_silences.py",
    "tests/integration/test_alert_rehearsal.py",
    "tests/integration/test_api_alerts.py",
    "tests/integration/test_cli_alerts.py",
    "tests/integration/test_cli_commands.py",
    "tests/integration/test_alert_silences_acks.py",
)

MUTATIONS: tuple[tuple[str, str, str, str], ...] = (
    (
        "what is over is not found",
        f"{ENGINE}/alert_list.py",
        " or await self._book.find_resolved(alert_id)",
        "",
    ),
    (
        "the severity is not asked for",
        f"{ENGINE}/alert_list.py",
        '"rule_id": rule_id, "severity": severity}',
        '"rule_id": rule_id}',
    ),
    (
        "an acknowledgement ends whenever it says",
        f"{ENGINE}/acks.py",
        "            if problems:\n",
        "            if False:\n",
    ),
    (
        "taking back what was not there is noted",
        f"{ENGINE}/acks.py",
        "        if was.ack is None and ack is None:\n",
        "        if False:\n",
    ),
    (
        "a silence may begin in the past",
        "src/domain/monitoring/silence.py",
        "        if start < now - LATE:\n",
        "        if False:\n",
    ),
    (
        "a revision that was sent back is not compared",
        f"{WEB}/alert_rules.py",
        "wanted.given(), wanted.revision)",
        "wanted.given())",
    ),
    (
        "a rule of another id is put under that of the address",
        f"{WEB}/alert_rules.py",
        "if wanted.id and wanted.id != rule_id:",
        "if False:",
    ),
    (
        "rules are listed as they come",
        f"{WEB}/alert_rules.py",
        "sorted(await services.rules.list(), key=lambda view: view.rule.id)",
        "await services.rules.list()",
    ),
    (
        "several problems are told as one",
        f"{WEB}/problems.py",
        "if not isinstance(error, Problems):",
        "if True:",
    ),
    (
        "silences that ended are among those that hold",
        f"{WEB}/silences.py",
        'include_expired=state == "expired"',
        "include_expired=True",
    ),
    (
        "a try does not let time pass between samples",
        f"{ENGINE}/rehearsal.py",
        "        self._wait(sample.collected_at)\n",
        "",
    ),
    (
        "a try does not let time pass at the end",
        f"{ENGINE}/rehearsal.py",
        "        self._wait(now)\n",
        "        pass\n",
    ),
    (
        "a try is about all workers",
        f"{ENGINE}/rehearsal.py",
        "rule.selects(worker), interval_s)",
        "True, interval_s)",
    ),
    (
        "a try reads the first samples alone",
        f"{ENGINE}/rehearsal.py",
        "            cursor = samples[-1].time_ms\n",
        "            return\n",
    ),
    (
        "a try goes on behind its end",
        f"{ENGINE}/rehearsal.py",
        "if until is not None and sample.observed_at > until:",
        "if False:",
    ),
    (
        "everything is silenced without saying so",
        f"{CLI}/alerts.py",
        "if everything == bool(found):",
        "if everything and found:",
    ),
    (
        "a rule under another id keeps the revision",
        f"{CLI}/alert_rules.py",
        '{"id", "revision"}',
        '{"id"}',
    ),
    (
        "one of several rules is put",
        f"{CLI}/rule_files.py",
        "return several if isinstance(several, list)",
        "return several[:1] if isinstance(several, list)",
    ),
)
