import time

import pytest

from xds_server.testing import Backend, Load, request, send


def test_send_counts_backends_and_other_statuses() -> None:
    with Backend("a") as backend:
        assert send(backend.port, "h", 10) == {"a": 10}
        assert send(backend.port, "h", 7, connections=3) == {"a": 7}
        backend.status = 503
        assert send(backend.port, "h", 2) == {"503": 2}


def test_send_uses_one_connection() -> None:
    with Backend() as backend:
        send(backend.port, "h", 20)
        assert (backend.count, backend.accepted) == (20, 1)


def test_connection_close_is_a_connection_for_each_request() -> None:
    """Whether or not the answer says so too: what is on its way to be closed must not be used again."""
    with Backend() as backend:
        send(backend.port, "h", 20, headers={"Connection": "close"})
        assert (backend.count, backend.accepted) == (20, 20)


def test_send_says_when_nobody_answers() -> None:
    with Backend() as backend:
        pass
    with pytest.raises(ConnectionRefusedError):
        send(backend.port, "h", 1)


def test_request_gives_up() -> None:
    with Backend(delay=30) as backend, pytest.raises(TimeoutError):
        request(backend.port, "h", timeout=0.05)


def test_a_load_without_failures() -> None:
    with Backend("a") as backend:
        with Load(backend.port, "h", rate=500, path="/p", headers={"x-y": "z"}) as load:
            load.wait_for(100)
            assert backend.connections == 4
        assert load.failures == 0
        assert load.total == load.backends["a"] == load.statuses[200] == backend.count >= 100
        assert (backend.last_host, backend.last_path, backend.last_headers["x-y"]) == ("h", "/p", "z")


def test_keeps_its_rate() -> None:
    with Backend() as backend, Load(backend.port, "h", rate=100) as load:
        started = time.monotonic()
        load.wait_for(50)
        assert time.monotonic() - started > 0.4


def test_counts_what_fails() -> None:
    with Backend() as backend, Load(backend.port, "h", rate=500) as load:
        load.wait_for(20)
        backend.fail(500)
        load.wait_for(20)
        assert load.statuses[500] == load.failures > 0
        backend.close()
        load.wait_for(20)
        assert any("refused" in error.lower() for error in load.errors)
        backend.recover()
        backend.start()
        load.wait_for(20)
        load.reset()
        failures = load.failures
        assert failures > 0, "a check at the end still sees them"
        load.wait_for(20)
        assert load.failures == failures, load.errors
        assert load.statuses.keys() == {200}


def test_a_broken_connection_is_a_failure() -> None:
    with Backend(delay=5) as backend, Load(backend.port, "h", connections=1) as load:
        deadline = time.monotonic() + 5
        while not backend.active:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        backend.close()
        load.wait_for(1)
        assert load.failures >= 1


def test_requests_under_way_are_waited_for() -> None:
    with Backend(delay=0.2) as backend:
        with Load(backend.port, "h", connections=1) as load:
            load.wait_for(1)
        assert load.total == load.statuses[200] == backend.count


def test_waiting_in_vain_says_so() -> None:
    with (
        Backend(delay=1) as backend,
        Load(backend.port, "h", connections=1) as load,
        pytest.raises(TimeoutError, match="100 more"),
    ):
        load.wait_for(100, timeout=0.05)
