"""What the worker tells Prometheus."""

from __future__ import annotations

import urllib.request

import pytest

from controller.errors import ConfigurationError
from controller.model.release import Outcome
from tests.workflows.dev_server import free_port
from workflows.messages import Delivered
from workflows.meters import Meters


def test_outcomes_and_notices_are_counted_and_served_on_loopback() -> None:
    """Every label is there from the start, so that a rate over the first event is right."""
    meters, port = Meters(), free_port()
    meters.ended(Outcome.ABORTED)
    meters.delivered(Delivered.SENT)

    end = meters.serve(port)
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            text = answer.read().decode()
    finally:
        end()

    assert 'serinus_worker_releases_ended_total{outcome="aborted"} 1.0' in text
    assert 'serinus_worker_releases_ended_total{outcome="promoted"} 0.0' in text
    assert 'serinus_worker_notices_total{result="sent"} 1.0' in text


def test_a_taken_port_is_named() -> None:
    """The person who starts the worker reads which port is in the way."""
    meters, port = Meters(), free_port()
    end = meters.serve(port)

    with pytest.raises(ConfigurationError, match=str(port)):
        Meters().serve(port)
    end()
