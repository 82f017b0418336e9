"""Replicas of one PostgreSQL that have workers: each shows the clients of all workers of both, and waits for them."""

from __future__ import annotations

import os
import signal

import pytest
from postgres import Postgres
from spread_nodes import spread_over, upstream, whereabouts, workers_of

from xds_server.testing import XdsServerProcess

pytestmark = pytest.mark.timeout(180)


def test_clients_of_the_others_workers_are_shown_and_waited_for(postgresql: Postgres) -> None:
    url = postgresql.database()
    args = ["--workers", "2", "--identifier", "tests"]
    with XdsServerProcess(store=url, args=args) as there, XdsServerProcess(store=url, args=args) as here:
        there.apply({"upstreams": [upstream("shop")]})
        with spread_over(there) as nodes:
            here.wait_until(
                lambda: sum(each["connected"] for each in here.api("GET", "/v1/nodes")["nodes"]) == len(nodes),
                20,
                "the other's nodes",
            )
            revision = here.apply({"upstreams": [upstream("shop", 5)]})
            path = f"/v1/revisions/{revision}?wait=100%25&timeout="
            waited = here.api("GET", f"{path}20s")["wait"]
            assert (waited["ok"], waited["acknowledged"]) == (True, len(nodes))
            shown = here.api("GET", "/v1/nodes")["nodes"]
            assert {replica for each in shown for replica in each["replicas"]} == {f"tests/{there.pid}"}

            stopped = workers_of(there)[2]
            os.kill(stopped, signal.SIGSTOP)
            try:
                revision = here.apply({"upstreams": [upstream("shop", 6)]})
                path = f"/v1/revisions/{revision}?wait=100%25&timeout="
                waited = here.api("GET", f"{path}2s")["wait"]
                assert (waited["ok"], waited["awaited_replicas"]) == (False, [f"tests/{there.pid}"]), "not by all of it"
            finally:
                os.kill(stopped, signal.SIGCONT)
            waited = here.api("GET", f"{path}20s")["wait"]
            assert (waited["ok"], waited["acknowledged"]) == (True, len(nodes))
            assert {*whereabouts(there).values()} == {1, 2}
