"""What schemathesis is told beside the contract.

Its check `positive_data_acceptance` wants every request that fits the schemas to be
taken. Some fit and cannot be: what they mean depends on requests before. It only knows
statuses, so `schemathesis.toml` allows those of such refusals, and here they are told by
the problem's code, one by one; whatever else is refused is a failure.

SIGN_IN_AS names the account that requests are made as; with SIGN_IN_FOR_EACH each gets
a session of its own, which it may end.
"""

import itertools
import os
import re

import requests
import schemathesis

# Fits the schema, and
MEANT = {
    "invalid_cursor",  # is not the signed end of a page of this very query
    "unknown_position",  # is not in the log
    "version_mismatch",  # names a version that the thing does not have now
    "idempotency_key_reused",  # was sent before, with another body
}
# Fields whose schema cannot say what they may be:
POINTERS = {
    "/metadata",  # a number of bytes, and a depth
    "/password",  # one that is not among those that many have
    "/new_password",  # likewise
    "/text",  # something to see, in a direction that is turned back, without piles of marks
    "/display_name",  # likewise
    "/bio",  # likewise
    "/folder_name",  # likewise
    "/email",  # one that mail can be sent to
    "/reply_to_id",  # the id of a post that is there
}
# What says nothing about the data: who asks, what there is, how much is going on.
ELSEWHERE = {401, 403, 404, 409, 429}


def header_patterns(case):
    components = case.operation.schema.raw_schema["components"]
    for parameter in case.operation.definition.raw.get("parameters", []):
        if "$ref" in parameter:
            parameter = components["parameters"][parameter["$ref"].rsplit("/", 1)[1]]
        if parameter.get("in") == "header":
            yield parameter["name"], parameter["schema"]


def breaks_a_pattern(case):
    """Long header values are made up without regard to their pattern."""
    for name, schema in header_patterns(case):
        value = (case.headers or {}).get(name)
        pattern = schema.get("pattern")
        if value is not None and pattern and not re.search(pattern, str(value)):
            return True
    return False


@schemathesis.check
def refused_for_what_it_means_alone(ctx, response, case):
    generation = case.meta.generation if case.meta else None
    if generation is None or not generation.mode.is_positive:
        return
    if not 400 <= response.status_code < 500 or response.status_code in ELSEWHERE:
        return
    problem = response.json()
    code = problem.get("code")
    pointers = {error.get("pointer") for error in problem.get("errors", [])}
    if pointers and pointers <= POINTERS:
        return
    assert code in MEANT or breaks_a_pattern(case), f"what fits the schema is refused: {code}"


@schemathesis.check
def refused_with_a_code_that_is_listed(ctx, response, case):
    # Another method is none of the operation's.
    if response.status_code < 400 or response.status_code == 405:
        return
    code = response.json().get("code")
    listed = case.operation.definition.raw["x-codes"]
    assert code in listed, f"{code} is not listed: {listed}"


# Access tokens live 15 minutes, and a run may take longer.
SESSION_SECONDS = None if os.environ.get("SIGN_IN_FOR_EACH") else 300

if os.environ.get("SIGN_IN_AS"):
    # Whoever signed in goes on with what they made, which need not be the role: `ada` of
    # the examples may have been registered by a request before. Tokens by session.
    MADE = {}

    @schemathesis.hook
    def after_call(context, case, response):
        if case.operation.label == "POST /v1/sessions" and response.status_code == 201:
            session = response.json()
            MADE[session["session_id"]] = session["access_token"]

    @schemathesis.auth(refresh_interval=SESSION_SECONDS, retry_on=[])
    class SignedIn:
        turns = itertools.count()

        def get(self, case, context):
            url = context.operation.schema.get_base_url() + "/v1/sessions"
            login = {"login": os.environ["SIGN_IN_AS"], "password": os.environ["PASSWORD"]}
            answer = requests.post(url, json=login, timeout=10)
            answer.raise_for_status()
            return answer.json()

        def set(self, case, session, context):
            made = MADE.get(str(case.path_parameters.get("session_id")))
            case.headers["Authorization"] = "Bearer " + (made or session["access_token"])
            # An id that is made up is nobody's: every other request names its own.
            positive = case.meta is None or case.meta.generation.mode.is_positive
            own = SESSION_SECONDS is None and positive and next(self.turns) % 2
            if own and "session_id" in case.path_parameters:
                case.path_parameters["session_id"] = session["session_id"]
