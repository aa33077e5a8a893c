"""Which errors burn retries, which wait, and which end the task."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from airflow.exceptions import AirflowRescheduleException
from airflow.providers.common.compat.sdk import AirflowFailException

from airflow_provider.failures import LONGEST_RATE_LIMIT, airflow_failures
from wandb_ops import errors

pytestmark = pytest.mark.airflow

RETRIED = {
    "TransportError",
    "DeadlineExceeded",
    "Conflict",
    "RateLimited",
    "ServerError",
    "IncompleteHistory",
    "IncompleteRunHistoryError",
    "ChecksumMismatch",
    "OutputError",
    "WaitTimeout",
}


def make(name: str) -> errors.Error:
    kind = getattr(errors, name)
    return kind("no", status=418) if issubclass(kind, errors.StatusError) else kind("no")


@pytest.mark.parametrize("name", errors.__all__)
def test_a_retry_is_spent_only_where_it_may_help(name, make_context):
    """Each error of the tree, against a list written by hand."""
    with pytest.raises(Exception) as caught, airflow_failures(make_context()):
        raise make(name)
    if name in RETRIED:
        assert type(caught.value) is getattr(errors, name)
    else:
        assert type(caught.value) is AirflowFailException
        assert name in str(caught.value)
        assert type(caught.value.__cause__) is getattr(errors, name)


def test_a_change_that_may_have_been_made_is_not_made_again(make_context):
    """A job may be on its queue already; a retry would train it twice."""
    with pytest.raises(AirflowFailException, match="AmbiguousOutcome"), airflow_failures(make_context()):
        raise errors.AmbiguousOutcome("the answer was lost")


def test_a_passing_graphql_error_is_retried(make_context):
    with pytest.raises(errors.GraphQLError), airflow_failures(make_context()):
        raise errors.GraphQLError("busy", transient=True)


def test_an_error_of_someone_else_passes_untouched(make_context):
    with pytest.raises(ZeroDivisionError), airflow_failures(make_context()):
        raise ZeroDivisionError


def test_a_rate_limit_frees_the_worker_until_the_server_said(make_context):
    before = datetime.now(UTC)
    with pytest.raises(AirflowRescheduleException) as caught, airflow_failures(make_context()):
        raise errors.RateLimited("slow down", retry_after=90)
    wait = caught.value.reschedule_date - before
    assert timedelta(seconds=90) <= wait < timedelta(seconds=100)


def test_a_rate_limit_that_never_ends_fails_the_try(make_context):
    context = make_context()
    context["ti"].get_first_reschedule_date.return_value = (
        datetime.now(UTC) - LONGEST_RATE_LIMIT - timedelta(seconds=1)
    )
    with pytest.raises(errors.RateLimited), airflow_failures(context):
        raise errors.RateLimited("slow down", retry_after=90)
