"""What a store's URL and namespace may be."""

import pytest

from infrastructure.redis.connection import RedisStore
from infrastructure.redis.errors import InvalidNamespace, InvalidStoreUrl
from infrastructure.redis.url import check_url, read_url


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://host", "host:6379"),
        ("redis://user:s3cret@host:7000/3", "host:7000"),
        ("rediss://:s3cret@host:7000/?ssl_ca_certs=/ca.pem&db=2", "host:7000"),
        ("redis://[::1]:7000", "[::1]:7000"),
        ("unix://:s3cret@/run/redis.sock?db=1", "unix:///run/redis.sock"),
        ("redis+sentinel://u:s3cret@a,b:1,[::1]:2/main", "main (by the Sentinels a:26379,b:1,[::1]:2)"),
        ("rediss+sentinel://a/main/3?ssl_ca_certs=/ca.pem", "main (by the Sentinels a:26379)"),
    ],
)
def test_an_address_has_no_password(url: str, address: str) -> None:
    assert check_url(url) == address


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "does not begin with redis://"),
        ("localhost:6379", "does not begin with redis://"),
        ("s3cret:6379", "does not begin with redis://"),
        ("http://:s3cret@host", "does not begin with redis://"),
        ("valkey+unix:///run/x.sock", "does not begin with redis://"),
        ("redis://", "it has no host"),
        ("redis://:s3cret@", "it has no host"),
        ("redis://host:port", "host and port are malformed"),
        ("redis://host:70000", "host and port are malformed"),
        ("redis://:s3cret/s3cret@host", "%2F"),
        ("redis://:1/s3cret@host", "the database is not a number"),
        ("redis://:1?s3cret@host", "after ? only db is known"),
        ("redis://host#s3cret", "after ? only db is known"),
        ("redis://host/zero", "the database is not a number"),
        ("redis://host/0/1", "the database is not a number"),
        ("redis://host?db=x", "the database is not a number"),
        ("redis://host?retry_on_timeout=1", "after ? only db is known"),
        ("redis://host?decode_responses=0", "after ? only db is known"),
        ("redis://host?ssl_keyfile=0", "after ? only db is known"),
        ("rediss://host?ssl_min_version=x", "ssl_ca_certs"),
        ("unix://", "it has no path"),
        ("redis://[::1", "host and port are malformed"),
        ("rediss://host?ssl_cert_reqs=maybe", "ssl_cert_reqs is required, or none"),
        ("unix:///" + "x" * 107, "its path has 108 bytes, and a unix socket's may have 107"),
        ("unix:///" + "ä" * 54, "its path has 109 bytes"),
        ("redis+sentinel://a", "it does not say what the Sentinels call the primary"),
        ("redis+sentinel://:s3cret@a/", "it does not say what the Sentinels call the primary"),
        ("redis+sentinel://a/my%20master", "it does not say what the Sentinels call the primary"),
        ("redis+sentinel://a/main/x", "the database is not a number"),
        ("redis+sentinel://a/main/1/2", "the database is not a number"),
        ("redis+sentinel:///main", "it has no host"),
        ("redis+sentinel://a,,b/main", "it has no host"),
        ("redis+sentinel://a,b:x/main", "host and port are malformed"),
        ("redis+sentinel://a/main?ssl_ca_certs=x", "after ? only db is known"),
        ("sentinel://a/main", "does not begin with redis://"),
    ],
)
def test_what_is_no_url_is_refused_by_the_settings_name(url: str, why: str) -> None:
    with pytest.raises(InvalidStoreUrl, match=r"store\.redis_url") as failure:
        RedisStore(url)
    assert why in str(failure.value)
    assert "s3cret" not in str(failure.value)


def test_all_parts_of_a_url_are_read() -> None:
    read = read_url("rediss+sentinel://us%40er:s3%2Fcret@a,b:1/main/3?ssl_certfile=/c.pem")
    assert (read.user, read.password, read.hosts) == ("us@er", "s3/cret", (("a", 26379), ("b", 1)))
    assert (read.primary_name, read.database, read.tls_options) == ("main", 3, {"ssl_certfile": "/c.pem"})
    assert read_url("redis+sentinel://a/main?db=4").database == 4
    assert read_url("redis://h/2").database == read_url("redis://h/7?db=2").database == 2
    assert "s3/cret" not in repr(read)


@pytest.mark.parametrize("namespace", ["", "a:b", "{a}", "a b", "a*", "x" * 65, "ä"])
def test_a_namespace_that_would_not_be_one_is_refused(namespace: str) -> None:
    with pytest.raises(InvalidNamespace, match=r"store\.namespace"):
        RedisStore("redis://host", namespace)


def test_nothing_is_connected_before_open() -> None:
    store = RedisStore("redis://user:s3cret@host.invalid")
    assert store.command.connection_pool.get_connection_count()[0][0] == 0
    assert "s3cret" not in f"{store!r}"
