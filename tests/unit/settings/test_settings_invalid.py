"""Each bad setting is named, with what is wrong, where it was written and how to mend it; all at once."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from infrastructure.settings import InvalidSettings, load_settings


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def problems(toml: str | bytes = "", environ: Mapping[str, str] | None = None) -> list[str]:
    Path("given.toml").write_bytes(toml if isinstance(toml, bytes) else toml.encode())
    with pytest.raises(InvalidSettings) as failure:
        load_settings(Path("given.toml"), environ or {})
    assert "s3cret" not in str(failure.value)
    assert failure.value.__cause__ is None
    assert failure.value.__suppress_context__, "the cause may hold secrets"
    first, *found, last = str(failure.value).splitlines()
    assert first == "The settings are not valid:"
    assert last.startswith("Nothing was started.")
    assert all(line.startswith("- ") for line in found)
    return [line[2:] for line in found]


def keys(*tables: str) -> str:
    """Return a file with the given API keys; each gets what it lacks."""
    base = {"name": '"a"', "role": '"admin"', "key": '"s3cret"'}
    filled = []
    for table in tables:
        given = dict(part.split(" = ") for part in table.split(", ") if part)
        facts = {name: value for name, value in {**base, **given}.items() if value != "none"}
        filled.append("{ " + ", ".join(f"{name} = {value}" for name, value in facts.items()) + " }")
    return f"[server]\napi_keys = [{', '.join(filled)}]"


def rules(*tables: str) -> str:
    """Return a file with the given alert rules."""
    return "".join(f"[[alerts.rules]]\n{table}\n" for table in tables)


CASES = [
    # unknown names
    ("[server]\nprot = 1", "server.prot is not known: did you mean port? (in given.toml)"),
    ("[sever]\nport = 1", "sever is not known: did you mean server? (in given.toml)"),
    ("port = 1", "port is not known: did you mean port in [server]? (in given.toml)"),
    ("[telemetry]\nqqqq = 1", "telemetry.qqqq is not known: known there: log_level, log_format, metrics_address"),
    ("prot = 1", "prot is not known: did you mean port in [server]?"),
    ("[zzzz]\nx = 1", "zzzz is not known: known there: data_dir, server, "),
    (keys("", 'name = "b", rule = 1'), "server.api_keys[1].rule is not known: did you mean role?"),
    (rules('id = "a"\nmetric = "no_data"\nlabel = {}'), "alerts.rules[0].label is not known: did you mean labels?"),
    # wrong kinds
    ("server = 3", "server: must be a table; got 3 (in given.toml)"),
    ('[server]\nport = "many"', "server.port: must be a valid integer"),
    ("[server]\nport = 80.5", "server.port: must be a valid integer"),
    ("[server]\nport = true", "server.port: must be a number, not true or false"),
    ("[server]\nport = 65536", "server.port: must be less than or equal to 65535; got 65536 (in given.toml)"),
    ("[server]\nport = -1", "server.port: must be greater than or equal to 0; got -1"),
    ('[server]\nhost = "127.0.0.1 "', "server.host: must be an address or a name"),
    ('[server]\nhost = ""', "server.host: must be an address or a name"),
    ('[server]\nbase_path = "x"', "server.base_path:"),
    ('[server]\nbase_path = "/x/"', "server.base_path:"),
    ('[server]\nallowed_origins = ["*"]', "server.allowed_origins[0]:"),
    ('[server]\nallowed_origins = ["https://a.b/c"]', "server.allowed_origins[0]:"),
    ('[server]\nallowed_origins = "https://a.b"', "server.allowed_origins: must be a list"),
    ('data_dir = ""', "data_dir: must be the path of a directory"),
    ("data_dir = 1", "data_dir: must be the path of a directory"),
    ('data_dir = "a\\u0000b"', "data_dir: must be the path of a directory"),
    ('data_dir = "~nobodyhere/x"', "data_dir: has no home directory for its ~"),
    ('[store]\nnamespace = "a:b"', "store.namespace: The setting store.namespace, 'a:b', is not valid"),
    ("[store]\nstart_timeout_s = -1", "store.start_timeout_s: must be greater than or equal to 0"),
    ("[store]\nstart_timeout_s = 1e9", "store.start_timeout_s: must be less than or equal to 3600"),
    ('[store]\ndurability = "sometimes"', "store.durability: must be 'memory' or 'disk'; got 'sometimes'"),
    ('[background_jobs]\nmodules = ["my-jobs"]', "background_jobs.modules[0]:"),
    ('[background_jobs]\nmodules = ["my_jobs.py:X"]', "background_jobs.modules[0]:"),
    ('[background_jobs]\nmodules = "my_jobs"', "background_jobs.modules: must be a list"),
    ('[background_jobs]\ncontainers = ["my_jobs"]', "background_jobs.containers[0]:"),
    ('[background_jobs]\nengine = "celery"', "background_jobs.engine: 'celery' is not implemented in this version"),
    ('[background_jobs]\nengine = "threads"', "background_jobs.engine: must be 'asyncio'; got 'threads'"),
    ("[background_jobs]\nconcurrency = 0", "background_jobs.concurrency: must be greater than or equal to 1"),
    ("[background_jobs]\nconcurrency = 100001", "background_jobs.concurrency: must be less than or equal to 100000"),
    ("[background_jobs]\nlease_s = 0.5", "background_jobs.lease_s: must be greater than or equal to 1"),
    ("[background_jobs]\nlease_s = 301", "background_jobs.lease_s: must be less than or equal to 300"),
    ("[background_jobs]\nlease_s = nan", "background_jobs.lease_s: must be greater than 0; got nan"),
    (
        "[background_jobs]\nrenewals_per_lease = 1",
        "background_jobs.renewals_per_lease: must be greater than or equal to 2",
    ),
    ("[background_jobs]\nrenewals_per_lease = 51", "renewals_per_lease: must be at most 50 with a lease_s of 5: 0.1 s"),
    ("[background_jobs]\nlease_s = 1\nrenewals_per_lease = 11", "must be at most 10 with a lease_s of 1: 0.1 s or"),
    ("[background_jobs]\nbatch = 0", "background_jobs.batch: must be greater than or equal to 1"),
    ("[background_jobs]\nbatch = 10001", "background_jobs.batch: must be less than or equal to 10000"),
    ("[background_jobs]\ntakeover_limit = -1", "background_jobs.takeover_limit: must be greater than or equal to 0"),
    ("[background_jobs]\nlease_s = true", "background_jobs.lease_s: must be a number, not true or false"),
    ("[background_jobs]\ndefault_timeout_s = 0", "background_jobs.default_timeout_s: must be greater than 0"),
    ("[background_jobs]\ndefault_timeout_s = -1", "background_jobs.default_timeout_s: must be greater than 0"),
    ("[background_jobs]\ndefault_timeout_s = inf", "background_jobs.default_timeout_s: must be less than"),
    ("[background_jobs]\nshutdown_grace_s = -1", "background_jobs.shutdown_grace_s: must be greater"),
    ("[background_jobs]\nruns_kept_per_schedule = 0", "background_jobs.runs_kept_per_schedule: must be greater"),
    ("[background_jobs]\nfinished_jobs_kept = 0", "background_jobs.finished_jobs_kept: must be greater"),
    ("[background_jobs]\nfinished_jobs_ttl_s = 0", "background_jobs.finished_jobs_ttl_s: must be greater"),
    ("[background_jobs]\nevents_kept = 0", "background_jobs.events_kept: must be greater"),
    ("[monitoring]\ninterval_s = 0", "monitoring.interval_s: must be greater"),
    ("[monitoring]\ninterval_s = nan", "monitoring.interval_s: must be greater than 0; got nan"),
    ("[monitoring]\ninterval_s = 40000000", "monitoring.interval_s: must be less than or equal to"),
    ('[monitoring]\nlocal_worker = "maybe"', "monitoring.local_worker: must be a valid boolean"),
    ("[monitoring]\nsamples_kept_h = 745", "monitoring.samples_kept_h: must be less than or equal to 744"),
    ('[telemetry]\nlog_level = "loud"', "telemetry.log_level: must be 'debug', 'info', 'warning' or 'error'"),
    ('[telemetry]\nlog_format = "xml"', "telemetry.log_format: must be 'console' or 'json'; got 'xml'"),
    # access
    ('[server]\nhost = "0.0.0.0"', "server.host: 0.0.0.0 can be reached from other machines: set server.api_keys"),
    ('[server]\nhost = "::"', "server.host: :: can be reached"),
    ('[server]\nhost = "box.example.com"', "server.host: box.example.com can be reached"),
    ('[server]\napi_keys = ["s3cret"]', "server.api_keys[0]: must be a table (in given.toml)"),
    (keys("key = none"), "server.api_keys[0]: give one of key, key_file and key_sha256"),
    (keys('key_file = "x"'), "server.api_keys[0]: give one of key, key_file and key_sha256"),
    (keys('role = "boss"'), "server.api_keys[0].role: must be 'viewer', 'operator' or 'admin'"),
    (keys("name = none"), "server.api_keys[0].name: is missing"),
    (keys('name = "a b"'), "server.api_keys[0].name:"),
    (keys('key = "s3cret x"'), "server.api_keys[0]: the key must be visible ASCII"),
    (keys('key = ""'), "server.api_keys[0]: the key must be visible ASCII"),
    (keys("key = 5"), "server.api_keys[0]: the key must be visible ASCII"),
    (keys('key = none, key_sha256 = "s3cret"'), "server.api_keys[0].key_sha256:"),
    (keys('key = none, key_file = "nowhere"'), "server.api_keys[0]: key_file: nowhere cannot be read: No such file"),
    (keys("", 'key = "other"'), "server.api_keys: [0] and [1] have the same name"),
    (keys("", 'name = "b"'), "server.api_keys: [0] and [1] have the same key"),
    # the store
    ('[store]\nredis_url = "http://:s3cret@host"', "store.redis_url is not valid: it does not begin with"),
    ("[store]\nredis_url = 5", "store.redis_url: must be a valid string (in given.toml)"),
    ('[store]\nredis_url_file = "nowhere"', "store: redis_url_file: nowhere cannot be read: No such file"),
    ('[store]\nredis_url_file = "."', "store: redis_url_file: . cannot be read: Is a directory"),
    ('[store]\nredis_url = "redis://h"\nredis_url_file = "x"', "store: give one of redis_url and redis_url_file"),
    # alert rules
    (rules('id = "a"\nmetric = "cpu_utilization"'), "alerts.rules[0]: fire: a rule for a metric needs the level"),
    (rules('id = "a"\nmetric = "cpu_utilization"\nfire = 90'), "alerts.rules[0]: fire: 90 is not between 0 and 1"),
    (rules(*['id = "a"\nmetric = "no_data"'] * 2), "more than one rule has the id 'a'"),
]


@pytest.mark.parametrize(("toml", "says"), CASES, ids=[says[:40] for _, says in CASES])
def test_in_the_file(toml: str, says: str) -> None:
    found = problems(toml)
    assert len(found) == 1, found
    assert says in found[0]
    assert "given.toml" in found[0]


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("ROUNDSMAN_DATADIR", "x", "ROUNDSMAN_DATADIR is not known: did you mean ROUNDSMAN_DATA_DIR?"),
        ("ROUNDSMAN_SERVER_PORT", "1", "ROUNDSMAN_SERVER_PORT is not known: did you mean ROUNDSMAN_SERVER__PORT?"),
        ("Roundsman_Server__Port", "1", "Roundsman_Server__Port is not known: did you mean ROUNDSMAN_SERVER__PORT?"),
        ("ROUNDSMAN_CONFI", "x", "ROUNDSMAN_CONFI is not known: did you mean ROUNDSMAN_CONFIG?"),
        ("ROUNDSMAN_", "x", "ROUNDSMAN_ is not known"),
        ("ROUNDSMAN_QQQQQQQQQQQQQQQQQQ", "x", "is not known: settings.toml lists what there is"),
        ("ROUNDSMAN_SERVER__PORT", "many", "got 'many' (in ROUNDSMAN_SERVER__PORT)"),
        ("ROUNDSMAN_SERVER__PORT", "", "server.port: must be a valid integer"),
        ("ROUNDSMAN_SERVER__HOST", "0.0.0.0", "or use 127.0.0.1 (in ROUNDSMAN_SERVER__HOST)"),
        ("ROUNDSMAN_BACKGROUND_JOBS__MODULES", "my_jobs", "is not JSON: Expecting value at character 1; write a list"),
        ("ROUNDSMAN_BACKGROUND_JOBS__MODULES", '"my_jobs"', "background_jobs.modules: must be a list"),
        ("ROUNDSMAN_SERVER__API_KEYS", "s3cret", "ROUNDSMAN_SERVER__API_KEYS is not JSON"),
        (
            "ROUNDSMAN_SERVER__API_KEYS",
            '[{"name": "a", "role": "x", "key": "s3cret"}]',
            "(in ROUNDSMAN_SERVER__API_KEYS)",
        ),
        ("ROUNDSMAN_STORE__REDIS_URL", "s3cret", "(in ROUNDSMAN_STORE__REDIS_URL)"),
        ("ROUNDSMAN_STORE__REDIS_URL_FILE", "nowhere", "(in given.toml and ROUNDSMAN_STORE__REDIS_URL_FILE)"),
        ("ROUNDSMAN_BACKGROUND_JOBS__ENGINE", "celery", "'celery' is not implemented"),
    ],
)
def test_in_the_environment(variable: str, value: str, says: str) -> None:
    found = problems("", {variable: value})
    assert len(found) == 1, found
    assert says in found[0]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (
            b"[server\nport = 1",
            "given.toml is not valid TOML: Expected ']' at the end of a table declaration (at line 1",
        ),
        (b"[server]\nport = 1\nport = 2\n", "at line 3"),
        (b'[server]\nhost = "\xff"', "given.toml is not UTF-8 text: byte 17 is not"),
    ],
)
def test_a_file_that_is_no_toml_is_named_with_the_line(content: bytes, says: str) -> None:
    (found,) = problems(content)
    assert says in found


def test_a_file_that_was_named_must_be_there() -> None:
    with pytest.raises(InvalidSettings, match=r"nowhere\.toml cannot be read: No such file or directory"):
        load_settings(environ={"ROUNDSMAN_CONFIG": "nowhere.toml"})
    Path("here").mkdir()
    with pytest.raises(InvalidSettings, match=r"here cannot be read: Is a directory"):
        load_settings(Path("here"), {})


def test_all_problems_come_at_once() -> None:
    toml = """
        nonsense = 1
        [server]
        port = 99999
        host = "0.0.0.0"
        [background_jobs]
        lease_s = 0
        [telemetry]
        log_format = "xml"
    """
    environ = {"ROUNDSMAN_DATADIR": "x", "ROUNDSMAN_ALERTS__RULES": "[", "ROUNDSMAN_MONITORING__INTERVAL_S": "-1"}
    found = "\n".join(problems(toml, environ))
    for word in ("nonsense", "port", "host", "lease_s", "log_format", "DATADIR", "ALERTS__RULES", "interval_s"):
        assert word in found
    assert len(found.splitlines()) == 8


def test_a_broken_file_does_not_hide_the_environments_problems() -> None:
    assert len(problems("[", {"ROUNDSMAN_DATADIR": "x", "ROUNDSMAN_SERVER__PORT": "-1"})) == 3
