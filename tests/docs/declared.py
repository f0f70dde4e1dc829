"""What runs each block of code of the documents, where that is not simply running it: with the reason.

A block that is not named here is run by ``Reader`` in ``reader.py``, in the order of its page.
"""

ELSEWHERE = {
    ("docs/how-to/add-a-provider.md", "python"): "tests/integration/test_provider_of_ones_own.py",
    ("docs/how-to/add-a-provider.md", "toml"): "tests/integration/test_provider_of_ones_own.py",
    ("docs/how-to/deploy.md", "ini"): "tests/docs/test_deploy_guide.py",
    ("docs/how-to/deploy.md", "dockerfile"): "tests/docs/test_deploy_guide.py",
    ("docs/how-to/deploy.md", "yaml"): "tests/docs/test_deploy_guide.py",
    ("docs/how-to/embed.md", "python"): "tests/examples/test_embed_document.py",
    ("docs/how-to/embed.md", "toml"): "tests/examples/test_embed_document.py",
    ("docs/how-to/embed.md", "sh"): "tests/examples/test_embed_document.py",
    ("docs/how-to/embed.md", ""): "tests/examples/test_embed_document.py",
    ("docs/how-to/test-a-job.md", "python"): "tests/testkit/test_how_to_test_a_job.py",
    ("docs/how-to/choose-a-trigger.md", "json"): "tests/unit/scheduling/test_trigger_docs.py",
    ("docs/how-to/connect-to-redis.md", "text"): "tests/integration/test_connections_rights.py",
    ("examples/fastapi-service/README.md", "sh"): "tests/examples/test_example_readmes.py",
    ("examples/job-modules/README.md", "sh"): "tests/examples/test_example_readmes.py",
    ("docs/reference/cli.md", "text"): "tests/docs/test_reference.py",
    ("docs/state-machines.md", "mermaid"): "tests/unit/test_state_machine_docs.py",
}
"""(Page, language) -> the tests that run or compare all such blocks of that page. They name the page."""

NOT_RUN = {
    "kill -TERM <pid of an old one>": "a person fills in the process; test_scenario_rolling.py does it",
    "scrape_configs:": "for a Prometheus, which is not here; tests/integration/test_telemetry_scrape.py scrapes",
    "appendonly yes": "for a Redis of the reader's own; test_code_blocks.py asks a server for these directives",
    "tick (infrastructure/scheduling/tick.py)": "a drawing; test_code_blocks.py looks for the files that it names",
    "python3 -m venv /opt": "for a server; tests/docs/test_deploy_guide.py looks for its files",
    "/opt/roundsman/venv/bin/pip": "the same",
    "systemctl ": "for a server with systemd; tests/docs/test_deploy_guide.py copies a store and starts on the copy",
    "cp -a /var/lib/roundsman": "the same",
    "roundsman workers import": "for an account of AWS; tests/distributed/test_program_aws.py imports from a stand-in",
    "[FIRING] critical: filesystem-full": "a message; tests/distributed/test_program_alerts.py receives some",
    "roundsman alerts show filesystem-full@": "for an alert that fires; tests/integration/test_cli_alerts.py has one",
    "roundsman alerts ack filesystem-full@": "the same",
    "roundsman alerts unack filesystem-full@": "the same",
    "roundsman alerts unsilence silence-": "for a silence that is there; tests/integration/test_cli_alerts.py ends one",
    "roundsman jobs status 06": "for a job that is there; tests/integration/test_cli_jobs.py has one",
    "roundsman jobs watch 06": "the same",
    "roundsman jobs cancel 06": "the same",
    "roundsman jobs retry 06": "the same",
    "curl -s http://127.0.0.1:8000/api/v1/jobs/06": "the same, in tests/integration/test_api_jobs.py",
    "curl -sN http://127.0.0.1:8000/api/v1/jobs/06": "the same",
    'sqlite3 var/history.sqlite3 ".backup': "a database of the reader's own",
    "SELECT task, status": "the same",
    "CREATE TABLE job_outbox": "the same",
    ". .venv/bin/activate": "the tests are in that environment",
}
"""How a block, or a line of a shell block, begins -> why nobody runs it."""

OF_MANY = "ROUNDSMAN_STORE__REDIS_URL=redis://127.0.0.1:6379 "

INSTEAD = (
    (r"^make (?!run)\S+", r"\g<0> --dry-run", "make bench, chaos and proof take minutes: that make knows what to do"),
    (r"\bmake run\b", "roundsman run", "the same program, in a directory of the reader's own"),
    (r"^(ROUNDSMAN_TELEMETRY__.*)roundsman run", r"\1roundsman check", "the settings are checked, not listened on"),
    (
        r"roundsman run (--role .*?) *&",
        r"roundsman check \1",
        "a second process: tests/distributed/test_program_roles.py",
    ),
    (r".*--role scheduler", rf"{OF_MANY}\g<0>", "the page assumes a Redis of the reader's own"),
    (r"^(roundsman events(?!.*--limit))", r"\1 --limit 1", "it would go on until Ctrl-C"),
    (r" --watch\b", "", "it would go on until Ctrl-C; tests/integration/test_cli_live.py watches"),
    (r"^curl -sN .*", r"\g<0> | head -n 1", "it would go on until Ctrl-C"),
)
"""Pattern, replacement, reason: what is run instead of a command."""

OTHER_OUTPUT = {"roundsman doctor": "the page shows a machine on which something is wrong; the tests have a sound one"}
"""How a command begins -> why what the page shows below it is not compared."""

MAY_FAIL = {
    "roundsman doctor": "it may find something to mend here",
    "roundsman schedules add Backup --id wrong": "the tutorial shows the refusal",
}
"""How a command begins -> why its exit status is not asked for."""
